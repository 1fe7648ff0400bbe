// SPDX-License-Identifier: GPL-3.0-or-later

package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"winery/internal/config"
	"winery/internal/httpapi/rpc/client"
	"winery/internal/storage"
	"winery/pool"
	"winery/sharedbase"
	"winery/test/dbusers"
	"winery/test/s3test"
)

// The roles, by the names of their programs.
const (
	Writer  = "winery-writer"
	Packer  = "winery-packer"
	Mapper  = "winery-rbd-mapper"
	Cleaner = "winery-cleaner"
)

// PoolName is the pool of a fleet's images.
const PoolName = "shards"

// Options say what kind of fleet to make.
type Options struct {
	Dir          string       // a folder of its own: configuration, logs, images of a directory pool
	Images       string       // base_directory of a directory pool; empty: Dir
	Bin          string       // the folder with the programs
	DSN          string       // an empty database
	OneUser      bool         // all programs use the DSN's user and CephUser; else each has users of its own
	Mosaic       bool         // mosaics, compressed, in a directory
	S3           s3test.Place // mosaics, compressed, in S3, if it has a URL
	CephConf     string       // RBD images on this Ceph; empty: images in a directory
	CephUser     string       // empty: the one of the ceph.conf
	CephPool     string       // the RBD pool; its data pool is CephPool-data
	ShardMaxSize int64
	// IndexPartitions is the number of tables that the index consists of; 0: one.
	IndexPartitions int
	IdleTimeout     time.Duration // rw_idle_timeout, whole seconds; 0: the default
	Writers         int           // winery.writers; 0: the default
	Lease           time.Duration // winery.lease, whole seconds; 0: the default
	StallLimit      time.Duration // winery.stall_limit, whole seconds; 0: the default
	ReadOnly        bool          // a writer that only serves
	NoDelete        bool          // deletions are refused
}

// Fleet is one Winery: a database, a pool, and the daemons that were started.
type Fleet struct {
	Config *config.Config
	Base   *sharedbase.SharedBase
	Pool   pool.Pool      // this process's own handle of the images
	Client *client.Client // of the writer that was started last
	URL    string         // of the same writer
	File   string         // path of the configuration, which the Python Winery can read too

	options   Options
	users     *dbusers.Users // nil: one user
	pools     storage.Set
	processes []*Process
}

// New writes the configuration, and fills the database and makes the pool by
// wineryctl. It makes users for the programs.
func New(ctx context.Context, o Options) (*Fleet, error) {
	f, err := open(o)
	if err != nil {
		return nil, err
	}
	_, err = f.Ctl(ctx, "db", "init", "--index-partitions", fmt.Sprint(max(1, o.IndexPartitions)))
	return f.withUsers(ctx, err)
}

// Configure writes the configuration of a fleet whose database and pool exist
// already. It makes users for the programs.
func Configure(ctx context.Context, o Options) (*Fleet, error) {
	f, err := open(o)
	if err != nil {
		return nil, err
	}
	return f.withUsers(ctx, nil)
}

// withUsers returns the fleet with its users, if err is nil.
func (f *Fleet) withUsers(ctx context.Context, err error) (*Fleet, error) {
	if err == nil && !f.options.OneUser {
		err = f.makeUsers(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func open(o Options) (*Fleet, error) {
	f := &Fleet{options: o, File: filepath.Join(o.Dir, "winery.yml")}
	if err := o.WriteConfig(f.File); err != nil {
		return nil, err
	}
	var err error
	if f.Config, err = config.Load(f.File, nil); err != nil {
		return nil, err
	}
	if f.Base, err = sharedbase.New(o.DSN, "winery fleet"); err != nil {
		return nil, err
	}
	if f.pools, err = storage.Open(f.Config.Pools, true); err != nil {
		f.Base.Close()
		return nil, err
	}
	f.Pool = f.pools[f.Config.ActivePool]
	return f, nil
}

// WriteConfig writes the configuration of a fleet with these options to a file.
func (o Options) WriteConfig(file string) error {
	return os.WriteFile(file, []byte(o.yaml()), 0o600)
}

func (o Options) yaml() string {
	name, where := PoolName, fmt.Sprintf("type: directory, base_directory: %q", cmp.Or(o.Images, o.Dir))
	if o.Mosaic {
		where = fmt.Sprintf("type: mosaic, compression_level: 3, base_directory: %q", cmp.Or(o.Images, o.Dir))
	}
	if o.S3.URL != "" {
		where = fmt.Sprintf("type: mosaic-s3, compression_level: 3, base_url: %q, tmp_directory: %q, "+
			"boto3_config: {endpoint_url: %q, aws_access_key_id: %q, aws_secret_access_key: %q}",
			o.S3.URL, o.Dir, o.S3.Endpoint, o.S3.AccessKey, o.S3.SecretKey)
	}
	if o.CephConf != "" {
		name, where = o.CephPool, fmt.Sprintf("type: rbd, map: librbd, ceph_conf: %q", o.CephConf)
		if o.CephUser != "" {
			where += ", ceph_user: " + o.CephUser
		}
	}
	more := ""
	if o.IdleTimeout > 0 {
		more = fmt.Sprintf("  rw_idle_timeout: %d\n", int(o.IdleTimeout.Seconds()))
	}
	more += "winery:\n" // without more, it is null, and like one left out
	if o.Writers > 0 {
		more += fmt.Sprintf("  writers: %d\n", o.Writers)
	}
	if o.Lease > 0 {
		more += fmt.Sprintf("  lease: %d\n", int(o.Lease.Seconds()))
	}
	if o.StallLimit > 0 {
		more += fmt.Sprintf("  stall_limit: %d\n", int(o.StallLimit.Seconds()))
	}
	return fmt.Sprintf(`objstorage:
  cls: winery
  database: {db: %q}
  shards_pools:
    - {pool_name: %s, shard_max_size: %d, %s}
  shards_active_pool: %s
  allow_delete: %t
  readonly: %t
%s`, o.DSN, name, o.ShardMaxSize, where, name, !o.NoDelete, o.ReadOnly, more)
}

// ctl is the program of the operator's commands.
const ctl = "wineryctl"

// Ctl runs wineryctl and gives what it printed.
func (f *Fleet) Ctl(ctx context.Context, args ...string) (string, error) {
	_, file := f.For(ctl)
	cmd := exec.CommandContext(ctx, filepath.Join(f.options.Bin, ctl), append([]string{"--config", file}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("wineryctl %v: %w\n%s", args, err, out)
	}
	return string(out), nil
}

// Start starts one more process of a role other than the writer.
func (f *Fleet) Start(role string, args ...string) (*Process, error) {
	_, file := f.For(role)
	args = append([]string{"--config", file, "--log-format", "json", "--telemetry-listen", "127.0.0.1:0"}, args...)
	p, err := StartProcess(role+"-"+strconv.Itoa(len(f.processes)), f.options.Dir, filepath.Join(f.options.Bin, role), args...)
	if err == nil {
		f.processes = append(f.processes, p)
	}
	return p, err
}

// StartWriter starts a writer on a port that the kernel chooses, waits until
// it answers, and makes it the one that Client talks to.
func (f *Fleet) StartWriter(ctx context.Context) (*Process, error) {
	p, err := f.Start(Writer, "--listen", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	record, err := p.waitForRecord(ctx, "listening")
	if err != nil {
		return nil, err
	}
	f.URL = "http://" + fmt.Sprint(record["address"])
	if err := Until(ctx, func() (bool, error) { return f.serves(ctx, p) }); err != nil {
		return nil, err
	}
	f.Client, err = client.New(f.URL)
	return p, err
}

// serves reports whether a writer has opened its database and its pools.
func (f *Fleet) serves(ctx context.Context, p *Process) (bool, error) {
	select {
	case <-p.Done():
		return false, errors.Join(p.Err(), fmt.Errorf("%s ended before it served", p.Name))
	default:
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return false, err
	}
	once := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := once.Do(request)
	if err != nil {
		return false, nil //nolint:nilerr // asked again until ctx ends
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK, nil
}

// Close stops what still runs, the last one started first.
func (f *Fleet) Close() error {
	var errs []error
	for i := len(f.processes) - 1; i >= 0; i-- {
		select {
		case <-f.processes[i].Done():
		default:
			errs = append(errs, f.processes[i].Stop())
		}
	}
	f.Base.Close()
	return errors.Join(append(errs, f.pools.Close())...)
}
