// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
)

// passing matches what crypto/tls says of a key that is not the certificate's, what
// sharedbase makes of that, and what exporter-toolkit says of a file that it cannot read:
// none of them has a type.
var passing = regexp.MustCompile(`does not match public key|is not the key of the sslcert|^failed to read `)

// MayPass reports whether err, of a file that a setting names, may be none at the next
// start: the file cannot be read, or a certificate was renewed and its key not written yet.
//
// That counts also for a file that does not exist. It may be a wrong path, but also a mount
// that is late, or a file that is being replaced. A role that tries again at a wrong path
// says so in each log line; one that stays down because of a late mount is an outage.
func MayPass(err error) bool {
	return errors.As(err, new(*fs.PathError)) || passing.MatchString(err.Error())
}

// FileError returns what err, of a file that the setting key names, means for a role: a
// plain error if it [MayPass], else an [*Error], which no restart cures.
func FileError(key string, err error) error {
	if MayPass(err) {
		return fmt.Errorf("%s: %w", key, err)
	}
	return &Error{Key: key, Msg: err.Error()}
}
