// SPDX-License-Identifier: GPL-3.0-or-later

package doctor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"winery/internal/config"
	"winery/internal/httpapi"
	"winery/internal/httpapi/access"
	"winery/internal/limits"
)

const (
	otherFiles  = 256                 // that a process has open besides connections and images
	expiresSoon = 14 * 24 * time.Hour // left of the validity of a certificate
)

// rbdBus is where the kernel's rbd driver shows itself. Only tests change it.
var rbdBus = "/sys/bus/rbd"

// openFiles is about the limit of this process. Go has raised the soft limit to the hard one.
func (d *doctor) openFiles(context.Context) Result {
	needed := int64(otherFiles + d.Config.Winery.DatabaseConnections)
	if d.works("writer") {
		needed += int64(httpapi.MaxConnections + d.Config.ReadersCacheSize)
		if d.Config.Winery.HashCache.Directory != "" {
			needed += int64(d.Config.ReadersCacheSize) // an open image has its hash function open
		}
	}
	limit := limits.Get().Files
	if limit < needed {
		return Result{State: Warning, What: fmt.Sprintf("the limit is %d open files, and a process can need %d", limit, needed),
			Cure: "raise the hard limit: ulimit -H -n in this shell, LimitNOFILE= in the units; or lower readers_cache_size"}
	}
	return ok("the limit is %d open files, and a process needs %d at most", limit, needed)
}

func (d *doctor) rbdDriver(ctx context.Context) Result {
	result := ok("loaded, or no pool needs it")
	for _, c := range d.Config.Pools {
		r := driver(c, d.Roles, func() bool { return loadable(ctx) })
		if r.State != OK {
			return r
		}
		if r.What == loadedLater {
			result = r
		}
	}
	return result
}

const loadedLater = "the kernel's rbd driver is loaded when winery-rbd-mapper or winery-writer starts"

// driver checks what a pool whose images the kernel maps needs of this host. A driver that
// is not loaded is no failure where later says that it will be.
func driver(c config.Pool, roles []string, later func() bool) Result {
	maps := slices.Contains(roles, "mapper")
	if c.Type != config.RBD || c.Map != config.MapKernel || !maps && !slices.Contains(roles, "writer") {
		return ok("not needed")
	}
	what := "loaded"
	if _, err := os.Stat(rbdBus); err != nil {
		if !later() {
			return Result{State: Failed, What: fmt.Sprintf("the kernel's rbd driver is not loaded, and pool %s has map: kernel", c.Name),
				Cure: "modprobe rbd; or set map: librbd for the pool"}
		}
		what = loadedLater
	}
	if _, err := exec.LookPath("rbd"); err != nil && maps {
		return failure(err, "apt install ceph-common: the command rbd maps the images")
	}
	return ok("%s", what)
}

// loadable reports whether the units of the roles, which want modprobe@rbd.service, can
// load the kernel's rbd driver.
func loadable(ctx context.Context) bool {
	modprobe, err := exec.LookPath("modprobe")
	if err != nil {
		modprobe = "/usr/sbin/modprobe" // which the PATH of a user may lack
	}
	return exec.CommandContext(ctx, modprobe, "--dry-run", "--quiet", "rbd").Run() == nil //nolint:gosec // the program of this host
}

// clients is about the files by which the writer knows its clients.
func (d *doctor) clients(context.Context) Result {
	w := d.Config.Winery
	if !d.works("writer") || w.TLS.Certificate == "" && w.Access == "" {
		return ok("neither TLS nor an access file is needed")
	}
	if w.Access != "" {
		if _, err := access.NewGuard(w.Access); err != nil {
			return failure(err, "correct the file; wineryctl access check "+w.Access)
		}
	}
	if w.TLS.Certificate == "" {
		return ok("the access file can be used")
	}
	certificates, err := access.NewCertificates(access.Files(w.TLS))
	if err != nil {
		return failure(err, "correct winery.tls or the files, which the user of the writer must be able to read")
	}
	expires := certificates.Expiry()
	left := time.Until(expires)
	r := ok("the certificate is valid until %s", expires.Format(time.DateOnly))
	if left < expiresSoon {
		r.State, r.Cure = Warning, "replace "+w.TLS.Certificate+", then systemctl reload winery-writer"
	}
	if left < 0 {
		r.State, r.What = Failed, "the certificate expired on "+expires.Format(time.DateOnly)
	}
	return r
}
