// SPDX-License-Identifier: GPL-3.0-or-later

package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// digits is the alphabet of RFC 1924.
const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"

const notDigit = 0xff

var digitValue = func() (values [256]byte) {
	for i := range values {
		values[i] = notDigit
	}
	for i := range len(digits) {
		values[digits[i]] = byte(i)
	}
	return values
}()

// appendBase85 appends the base 85 of src to dst: five digits for four bytes, and n+1 digits for a rest of n bytes.
func appendBase85(dst, src []byte) []byte {
	for len(src) > 0 {
		var group [4]byte
		n := copy(group[:], src)
		src = src[n:]
		value := binary.BigEndian.Uint32(group[:])
		var text [5]byte
		for i := 4; i >= 0; i-- {
			text[i] = digits[value%85]
			value /= 85
		}
		dst = append(dst, text[:n+1]...)
	}
	return dst
}

// base85 decodes JSON's text form of bytes.
type base85 []byte

// UnmarshalText decodes text into memory of its own.
func (b *base85) UnmarshalText(text []byte) error {
	out := make([]byte, 0, len(text)/5*4+4)
	for at := 0; at < len(text); at += 5 {
		group := text[at:min(at+5, len(text))]
		value := uint64(0)
		for i := range 5 {
			digit := byte(84) // a short last group is filled up with the highest digit
			if i < len(group) {
				digit = digitValue[group[i]]
			}
			if digit == notDigit {
				return fmt.Errorf("byte %q at %d is not a base 85 digit", group[i], at+i)
			}
			value = value*85 + uint64(digit)
		}
		if value > math.MaxUint32 || len(group) == 1 {
			return fmt.Errorf("the base 85 digits %q at %d encode no bytes", group, at)
		}
		out = append(out, binary.BigEndian.AppendUint32(nil, uint32(value))[:len(group)-1]...)
	}
	*b = out
	return nil
}
