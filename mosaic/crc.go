// SPDX-License-Identifier: GPL-3.0-or-later

package mosaic

import "hash/crc32"

// CRC-32 is linear. The sum of bytes that are all changed in some places is the sum
// before, XOR the remainder of the changes with zeros everywhere else. Hence a
// checksum can be brought up to date without reading what did not change.

// updateCRC continues a checksum.
func updateCRC(crc uint32, p []byte) uint32 { return crc32.Update(crc, crc32.IEEETable, p) }

// noBytes is how a remainder starts: a checksum without the inversions before and
// after, by which zeros in front would count.
const noBytes = ^uint32(0)

// remainder takes what [updateCRC] made of noBytes.
func remainder(crc uint32) uint32 { return ^crc }

// zeroBits has the powers x^8, x^16, x^32 and so on: what 1, 2, 4 and more zero bytes
// multiply a remainder by.
var zeroBits = func() (powers [63]uint32) {
	powers[0] = 1 << (31 - 8) // the highest power is the lowest bit
	for i := 1; i < len(powers); i++ {
		powers[i] = multiply(powers[i-1], powers[i-1])
	}
	return powers
}()

// shift returns the remainder of bytes that n zeros follow; and the part of a
// checksum of a sequence that comes of its start, where n bytes follow it.
func shift(crc uint32, n int64) uint32 {
	for i := 0; n > 0; i, n = i+1, n>>1 {
		if n&1 != 0 {
			crc = multiply(crc, zeroBits[i])
		}
	}
	return crc
}

// multiply multiplies polynomials over GF(2), modulo the one of CRC-32.
func multiply(a, b uint32) (product uint32) {
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		carry := b & 1
		b = b>>1 ^ carry*crc32.IEEE
	}
	return product
}

// joinCRC returns the checksum of two sequences from those of each, the second one
// of n bytes.
func joinCRC(first, second uint32, n int64) uint32 { return shift(first, n) ^ second }
