// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"winery/pool"
)

// CheckAccess implements [pool.Pool]: it lists the pool, and with write begins an
// upload and ends it, which leaves nothing.
func (p *Pool) CheckAccess(ctx context.Context, write bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := p.exists(ctx)
	if err == nil && write {
		if err := p.writable(); err != nil {
			return err
		}
		if err := p.checkTmp(); err != nil {
			return err
		}
		err = p.checkUpload(ctx)
	}
	return p.fail("check access", "", err)
}

func (p *Pool) checkUpload(ctx context.Context) error {
	name := "check-" + uuid.NewString()
	if err := p.abortUploads(ctx, name); err != nil { // needs the right to list uploads
		return err
	}
	key := p.at.own + name
	begun, err := send(ctx, p, "check access", func() (*s3.CreateMultipartUploadOutput, error) {
		return p.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &p.at.bucket, Key: &key})
	})
	if err != nil {
		return err
	}
	return p.abort(ctx, key, begun.UploadId)
}

func (p *Pool) checkTmp() error {
	folder, err := p.folder()
	if err == nil {
		err = unix.Faccessat(unix.AT_FDCWD, folder, unix.R_OK|unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	}
	if err != nil {
		return &pool.AccessError{Pool: p.name, What: fmt.Sprintf("user %d cannot write to %s in tmp_directory: %v", os.Geteuid(), folder, err),
			Cure: "make tmp_directory, chown it and what is in it to the user of the roles, and name it in ReadWritePaths= of the unit"}
	}
	return nil
}
