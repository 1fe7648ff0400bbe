// SPDX-License-Identifier: GPL-3.0-or-later

// Package s3test starts S3 servers for tests: versitygw, which knows all conditions for
// uploads; moto, which is written in Python and knows some; and Ceph's radosgw, whose
// release 16 knows none for uploads of several parts.
package s3test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"
)

// The key that the servers accept.
const (
	AccessKey = "access-key-of-tests"
	SecretKey = "secret-key-of-tests"
)

// Server is an S3 server on the loopback interface.
type Server struct {
	Name     string
	Endpoint string // a URL

	admin   func(args ...string) ([]byte, error) // of radosgw
	command *exec.Cmd                            // nil: not started
	ended   chan struct{}                        // closed once it ended
	dir     string
	output  *os.File

	reserved net.Listener // keeps the port for this server
}

// kinds are the commands of the servers.
var kinds = map[string]func(s *Server, port string) (*exec.Cmd, error){
	"moto": func(_ *Server, port string) (*exec.Cmd, error) {
		python := os.Getenv("WINERY_PYTHON")
		if python == "" {
			return nil, errors.New("WINERY_PYTHON must name a Python with the packages of scripts/python-venv: `make test` sets it")
		}
		// moto looks at If-None-Match and stores in two steps: no other thread may run in between.
		const server = "import sys; sys.setswitchinterval(60); from moto.server import main; main()"
		return exec.Command(python, "-c", server, "-H", "127.0.0.1", "-p", port), nil
	},
	"versitygw": func(s *Server, port string) (*exec.Cmd, error) {
		program := os.Getenv("WINERY_VERSITYGW")
		if program == "" {
			return nil, errors.New("WINERY_VERSITYGW must name the program versitygw: `make test` makes it and sets it")
		}
		data, versions := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "versions")
		for _, folder := range []string{data, versions} {
			if err := os.Mkdir(folder, 0o700); err != nil {
				return nil, err
			}
		}
		return exec.Command(program, "--access", AccessKey, "--secret", SecretKey, "--region", "us-east-1",
			"--port", "127.0.0.1:"+port, "--quiet", "posix", "--versioning-dir", versions, data), nil
	},
	"radosgw": radosgw,
}

var (
	mu     sync.Mutex
	shared = map[string]*Server{} // by kind
)

// radosgw serves a Ceph for tests that runs.
func radosgw(s *Server, port string) (*exec.Cmd, error) {
	conf := os.Getenv("CEPH_CONF")
	if conf == "" {
		return nil, errors.New("CEPH_CONF must name a Ceph for tests: `make test` starts one and sets it")
	}
	keyring := filepath.Join(s.dir, "keyring")
	as := []string{"-c", conf, "-n", "client.rgw", "--keyring", keyring}
	if out, err := exec.Command("ceph", "-c", conf, "auth", "get-or-create", "client.rgw", "mon", "allow rw", "osd", "allow rwx", "-o", keyring).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("a key for radosgw: %w\n%s", err, out)
	}
	s.admin = func(args ...string) ([]byte, error) {
		return exec.Command("radosgw-admin", append(as, args...)...).CombinedOutput()
	}
	if out, err := s.admin("user", "create", "--uid=tests", "--display-name=tests", "--access-key="+AccessKey, "--secret-key="+SecretKey); err != nil {
		if _, exists := s.admin("user", "info", "--uid=tests"); exists != nil {
			return nil, fmt.Errorf("a user of radosgw: %w\n%s", err, out)
		}
	}
	return exec.Command("radosgw", append(as, "-f", "--rgw-frontends", "beast endpoint=127.0.0.1:"+port,
		"--log-file", filepath.Join(s.dir, "log"), "--pid-file", "", "--admin-socket", filepath.Join(s.dir, "asok"))...), nil
}

// Quota limits the size of a bucket of a radosgw, in bytes.
func (s *Server) Quota(t testing.TB, bucket string, bytes int64) {
	t.Helper()
	for _, args := range [][]string{{"set", "--max-size", fmt.Sprint(bytes)}, {"enable"}} {
		if out, err := s.admin(append([]string{"quota", "--quota-scope=bucket", "--bucket", bucket}, args...)...); err != nil {
			t.Fatalf("quota of bucket %s: %v\n%s", bucket, err, out)
		}
	}
}

// Moto returns the server moto of this test binary, which ends with [Stop].
func Moto(t testing.TB) *Server { return share(t, "moto") }

// Versity returns the server versitygw of this test binary, which ends with [Stop].
func Versity(t testing.TB) *Server { return share(t, "versitygw") }

// Radosgw returns the server radosgw of this test binary, which ends with [Stop].
func Radosgw(t testing.TB) *Server { return share(t, "radosgw") }

func share(t testing.TB, kind string) *Server {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if s := shared[kind]; s != nil {
		return s
	}
	s, err := Run(kind)
	if err != nil {
		t.Fatal(err)
	}
	shared[kind] = s
	return s
}

// Stop ends the servers of this test binary. A TestMain calls it at its end.
func Stop() {
	mu.Lock()
	defer mu.Unlock()
	for _, s := range shared {
		s.Kill()
	}
	clear(shared)
}

// Tests are those of a test binary, for goleak.VerifyTestMain: after them, and before
// goroutines are counted, the servers end.
type Tests struct{ *testing.M }

// Run runs the tests.
func (t Tests) Run() int {
	defer Stop()
	return t.M.Run()
}

// Start starts a server for one test, which ends with the test.
func Start(t testing.TB, kind string) *Server {
	t.Helper()
	s, err := Run(kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// Run starts a server, which ends with Kill.
func Run(kind string) (_ *Server, err error) {
	reserved, port, err := reserve()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "winery-s3-")
	if err != nil {
		return nil, errors.Join(err, reserved.Close())
	}
	s := &Server{Name: kind, Endpoint: "http://127.0.0.1:" + port, dir: dir, reserved: reserved}
	defer func() {
		if err != nil {
			s.Kill()
		}
	}()
	if s.output, err = os.Create(filepath.Join(dir, "output")); err != nil {
		return nil, err
	}
	command, err := kinds[kind](s, port)
	if err != nil {
		return nil, err
	}
	return s, s.start(command)
}

// reserve finds a port for a server, which opens it itself and again after a crash. The
// range is below the one that the kernel takes ports of clients from, and below that of
// scripts/pg-up. Until the listener is closed, no other test gets the port: an abstract
// socket with its number is gone with the process that has it.
func reserve() (reserved net.Listener, port string, err error) {
	const first, ports = 12000, 8000
	for _, n := range rand.Perm(ports) {
		port = strconv.Itoa(first + n)
		if reserved, err = net.Listen("unix", "@winery-s3test-"+port); err != nil {
			continue
		}
		var probe net.Listener
		if probe, err = net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return reserved, port, probe.Close()
		}
		_ = reserved.Close()
	}
	return nil, "", fmt.Errorf("no port is free: %w", err)
}

func (s *Server) start(command *exec.Cmd) error {
	command.Stdout, command.Stderr = s.output, s.output
	if err := command.Start(); err != nil {
		return err
	}
	s.command, s.ended = command, make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = command.Wait() // was killed
	}()
	return s.await()
}

// Crash kills the server and leaves what it stored, for Restart.
func (s *Server) Crash() {
	_ = s.command.Process.Kill()
	<-s.ended
}

// Restart starts the server again after Crash.
func (s *Server) Restart() error {
	return s.start(exec.Command(s.command.Path, s.command.Args[1:]...))
}

// Suspend stops the server until resume is called.
func (s *Server) Suspend() (resume func() error, err error) {
	return func() error { return s.command.Process.Signal(syscall.SIGCONT) }, s.command.Process.Signal(syscall.SIGSTOP)
}

// await waits until the server answers.
func (s *Server) await() error {
	for until := time.Now().Add(2 * time.Minute); time.Now().Before(until); {
		answer, err := http.Get(s.Endpoint) //nolint:noctx // of this test
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("%s ended: %v\n%s", s.Name, s.command.ProcessState, s.said())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s does not answer\n%s", s.Name, s.said())
}

func (s *Server) said() string {
	said, _ := os.ReadFile(s.output.Name())
	return string(said)
}

// Kill ends the server in the middle of what it does, with what it stored.
func (s *Server) Kill() {
	if s.command != nil {
		s.Crash()
	}
	if s.output != nil {
		_ = s.output.Close()
	}
	_ = os.RemoveAll(s.dir)
	_ = s.reserved.Close()
}

// Client returns a client of the server.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, UsePathStyle: true, Region: "us-east-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: AccessKey, SecretAccessKey: SecretKey}, nil
		}),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

// Bucket makes an empty bucket and returns its name.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	name, err := s.makeBucket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// Place is where a Winery keeps its images.
type Place struct {
	URL                  string // s3://BUCKET
	Endpoint             string
	AccessKey, SecretKey string
}

// Place makes an empty bucket and returns what a Winery needs to know of it.
func (s *Server) Place(ctx context.Context) (Place, error) {
	name, err := s.makeBucket(ctx)
	return Place{URL: "s3://" + name, Endpoint: s.Endpoint, AccessKey: AccessKey, SecretKey: SecretKey}, err
}

func (s *Server) makeBucket(ctx context.Context) (string, error) {
	name := "bucket-" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err := s.Client().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name})
	return name, err
}
