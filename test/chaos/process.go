// SPDX-License-Identifier: GPL-3.0-or-later

package chaos

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"winery/test/harness"
	"winery/test/harness/relay"
)

// restartAfter is how long the supervisor waits before it starts a process
// again, as systemd does by RestartSec.
const restartAfter = time.Second

// process is a role that is started again whenever it ends. It reaches
// PostgreSQL through a relay of its own.
type process struct {
	role  string
	name  string
	relay *relay.Relay
	start func() (*harness.Process, error)

	mu      sync.Mutex
	current *harness.Process
	killing bool // its end is our doing
	exits   int  // how often it ended by itself
}

// socket is where the n-th writer listens, wherever its process is by then.
func socket(dir string, n int) string { return filepath.Join(dir, fmt.Sprintf("writer-%d.sock", n)) }

// newProcess makes the n-th process of a role, with a configuration that leads
// it to the database through a relay.
func newProcess(f *harness.Fleet, role string, n int) (*process, error) {
	p := &process{role: role, name: fmt.Sprintf("%s-%d", role, n)}
	o, _ := f.For(role)
	var err error
	if p.relay, o.DSN, err = relay.Database(o.DSN); err != nil {
		return nil, err
	}
	file := filepath.Join(o.Dir, p.name+".yml")
	if err := o.WriteConfig(file); err != nil {
		p.relay.Close()
		return nil, err
	}
	// Other tests on this machine may use the default address.
	args := []string{"--config", file, "--log-format", "json", "--telemetry-listen", "127.0.0.1:0"}
	switch role {
	case harness.Writer:
		args = append(args, "--listen", "unix:"+socket(o.Dir, n))
	case harness.Packer: // one packs a shard after another, one two at once
		args = append(args, "--parallel", fmt.Sprint(n+1))
	}
	p.start = func() (*harness.Process, error) {
		return harness.StartProcess(p.name, o.Dir, filepath.Join(o.Bin, role), args...)
	}
	return p, nil
}

// supervise keeps the process running until ctx ends, then stops it and
// returns how it ended.
func (p *process) supervise(ctx context.Context) error {
	defer p.relay.Close()
	for {
		running, err := p.start()
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.current, p.killing = running, false
		p.mu.Unlock()
		select {
		case <-running.Done():
		case <-ctx.Done():
			select {
			case <-running.Done(): // killed just before
			default:
				return running.Stop()
			}
		}
		p.mu.Lock()
		if !p.killing {
			p.exits++
		}
		p.mu.Unlock()
		select {
		case <-time.After(restartAfter):
		case <-ctx.Done():
			return nil
		}
	}
}

// running is the process that runs, or ran last; nil before the first.
func (p *process) running() *harness.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// alive waits until the process runs.
func (p *process) alive(ctx context.Context) (running *harness.Process, err error) {
	err = harness.Until(ctx, func() (bool, error) {
		if running = p.running(); running == nil {
			return false, nil
		}
		select {
		case <-running.Done():
			return false, nil
		default:
			return true, nil
		}
	})
	return running, err
}

// kill ends it with SIGKILL.
func (p *process) kill() error {
	p.mu.Lock()
	running := p.current
	p.killing = true
	p.mu.Unlock()
	return running.Kill()
}

// exited is how often the process ended by itself.
func (p *process) exited() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exits
}
