// SPDX-License-Identifier: GPL-3.0-or-later

package scrub

import (
	"context"
	"errors"
	"fmt"

	"winery/sharedbase"
)

// renew records the image of a readonly shard that differs from its record, if the image
// is whole: each object of the index is in it, and each of its bytes is accounted for. It
// is another image of the same objects then, as Python's migrate-pool makes one. All of it
// is read under the claim, so that what is recorded is what was read.
func (s *Scrubber) renew(ctx context.Context, sh sharedbase.Shard) ([]string, error) {
	err := s.Base.WithImageForRepair(ctx, sh.Name, func(ctx context.Context, claim *sharedbase.ImageClaim) error {
		if err := unmoved(sh, claim); err != nil {
			return err
		}
		own := *s
		own.Sample, own.Mapped = 0, false
		p := &pass{Scrubber: &own, shard: sh}
		if err := p.image(ctx); err != nil {
			return err
		}
		for _, f := range p.findings {
			if f.Kind != RecordDiffers {
				return fmt.Errorf("the image is not recorded: %s: %s", f.Kind, f.Text)
			}
		}
		if p.incomplete || len(p.findings) == 0 {
			return errors.New("the image is not recorded: it changed while it was read; verify it again")
		}
		return claim.RenewRecord(ctx, p.found)
	})
	if err != nil {
		return nil, err
	}
	return []string{"recorded the image, which is whole, in place of the one that was packed"}, nil
}

func onlyRecordDiffers(findings []Finding) bool {
	return len(findings) == 1 && findings[0].Kind == RecordDiffers
}
