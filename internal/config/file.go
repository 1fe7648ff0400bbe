// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
)

// passing matches what crypto/tls says of a key that is not the certificate's, and
// exporter-toolkit of a file that it cannot read: both without a type.
var passing = regexp.MustCompile(`does not match public key|^failed to read `)

// FileError returns what err, of a file that the setting key names, means for a role: an
// [*Error], which no restart cures, only where the contents cannot be used.
//
// It is a plain error where the next start may succeed: the file cannot be read, or a
// certificate was renewed and its key not written yet. That counts also for a file that
// does not exist. It may be a wrong path, but also a mount that is late, or a file that is
// being replaced. A role that tries again at a wrong path says so in each log line; one
// that stays down because of a late mount is an outage.
func FileError(key string, err error) error {
	if errors.As(err, new(*fs.PathError)) || passing.MatchString(err.Error()) {
		return fmt.Errorf("%s: %w", key, err)
	}
	return &Error{Key: key, Msg: err.Error()}
}
