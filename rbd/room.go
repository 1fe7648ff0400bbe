// SPDX-License-Identifier: GPL-3.0-or-later

package rbd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ceph/go-ceph/rbd"

	"winery/pool"
)

// hasRoom answers pool.ErrFull unless the data pool has room for an image of so
// many bytes in the place of what is left under that name.
func (p *Pool) hasRoom(ceph *link, name string, bytes int64) error {
	space, known, err := ceph.space(p.settings.DataPool)
	if err != nil || !known || bytes <= space.Free {
		return err
	}
	leftover, err := allocated(ceph, name)
	if err != nil {
		return err
	}
	return pool.CheckRoom(bytes, space.Free+leftover)
}

// Space implements [pool.Pool]. It fails until an OSD has reported its size.
func (p *Pool) Space(ctx context.Context) (pool.Space, error) {
	ceph, err := p.ceph.get(ctx)
	if err != nil {
		return pool.Space{}, err
	}
	defer p.ceph.count(-1)
	space, known, err := ceph.space(p.settings.DataPool)
	if err == nil && !known {
		err = fmt.Errorf("%w: no OSD has reported the size of the pool yet", pool.ErrUnavailable)
	}
	return space, p.fail("free space", "", err)
}

// space is the room in a pool by its quota and by the fullest of its OSDs. It is
// unknown until an OSD has reported its size.
func (l *link) space(name string) (s pool.Space, known bool, err error) {
	out, status, err := l.conn.MonCommand([]byte(`{"prefix": "df", "detail": "detail", "format": "json"}`))
	if err != nil {
		return s, false, fmt.Errorf("ceph df: %w: %s", err, status)
	}
	var df struct {
		Stats struct {
			Total int64 `json:"total_bytes"`
		}
		Pools []struct {
			Name  string
			Stats struct {
				Stored   int64
				MaxAvail int64 `json:"max_avail"`
				Quota    int64 `json:"quota_bytes"`
			}
		}
	}
	if err := json.Unmarshal(out, &df); err != nil {
		return s, false, fmt.Errorf("ceph df: %w", err)
	}
	for _, p := range df.Pools {
		if p.Name != name || df.Stats.Total == 0 {
			continue
		}
		free := p.Stats.MaxAvail
		if p.Stats.Quota > 0 {
			free = min(free, max(0, p.Stats.Quota-p.Stats.Stored))
		}
		return pool.Space{Free: free, Total: free + p.Stats.Stored}, true, nil
	}
	return s, false, nil
}

// allocated is how many bytes an image takes, 0 if there is none.
func allocated(ceph *link, name string) (bytes int64, err error) {
	image, err := rbd.OpenImageReadOnly(ceph.io, name, rbd.NoSnapshot)
	if errors.Is(err, rbd.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	size, err := image.GetSize()
	if err == nil {
		err = image.DiffIterate(rbd.DiffIterateConfig{
			Length: size, WholeObject: rbd.EnableWholeObject,
			Callback: func(_, length uint64, exists int, _ interface{}) int {
				if exists != 0 {
					bytes += int64(length)
				}
				return 0
			},
		})
	}
	return bytes, errors.Join(err, image.Close())
}
