// SPDX-License-Identifier: GPL-3.0-or-later

package format

import (
	"errors"
	"sync"
)

// Verification is a reading of a whole image, by Verify or Inspect, as far as formats do
// it in the same way. Its methods are safe for concurrent use.
type Verification struct {
	Progress func(bytes int64)  // may be nil
	Bad      func(Damage) error // its error ends the reading
	Patient  bool               // attribute damage to an object, and continue

	mu          sync.Mutex   // for all below, and the calls of Progress and Bad
	Damages     int          // that Bad got
	Unexplained *DamageError // the first one that is no object's; Bad gets it from End, or never
}

// Strict returns a Verification that ends with the first damage.
func Strict(progress func(bytes int64)) *Verification {
	return &Verification{Progress: progress, Bad: func(d Damage) error { return d.DamageError }}
}

// Report reports bytes that were read.
func (v *Verification) Report(bytes int64) {
	if v.Progress != nil {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.Progress(bytes)
	}
}

// Blame reports damage of an object, or with the zero id of something else.
// Other errors it returns.
func (v *Verification) Blame(id ObjID, err error) error {
	var damage *DamageError
	if !errors.As(err, &damage) {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.Damages++
	return v.Bad(Damage{ID: id, DamageError: damage})
}

// Between handles what is wrong besides objects, such as between two of them. An object
// may be to blame, which shows when all have been read.
func (v *Verification) Between(err error) error {
	var damage *DamageError
	if !v.Patient || !errors.As(err, &damage) {
		return v.Blame(ObjID{}, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.Unexplained == nil || damage.Offset < v.Unexplained.Offset {
		v.Unexplained = damage
	}
	return nil
}

// End is called when all has been read: it reports what no object explains.
func (v *Verification) End() error {
	if v.Damages == 0 && v.Unexplained != nil {
		return v.Blame(ObjID{}, v.Unexplained)
	}
	return nil
}
