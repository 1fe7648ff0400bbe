// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"path/filepath"
	"time"
)

// UseKernelAt makes the pool see root/sys and root/dev as /sys and /dev, and
// bounds its rbd commands.
func (p *Pool) UseKernelAt(root string, limit time.Duration) {
	p.kernel.sys, p.kernel.dev, p.kernel.limit = filepath.Join(root, "sys"), filepath.Join(root, "dev"), limit
}

// OwnerOf calls the owner by name.
func OwnerOf(cookie string) string { return [...]string{"process", "kernel", "hand"}[ownerOf(cookie)] }
