// SPDX-License-Identifier: GPL-3.0-or-later

// Package client speaks Winery's HTTP API (package rpc) as a client. It works with the server in Python too.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"winery/internal/httpapi/rpc/wire"
)

// Object is an object's SHA-256 and content.
type Object = wire.Object

// Client is a client of one server. It may be used concurrently, and keeps idle connections until Close.
//
// Every call is tried again, after 100 ms at first and up to 5 s later, while the server is unavailable (status 502, 503 or
// 504, no connection, a connection that broke); Delete only while there is no connection, as it cannot be repeated: it would say
// ErrNotFound of what it has just deleted. A server whose certificate is not trusted is not asked again. A repeated AddBatch may find what it added itself and count too little.
type Client struct {
	base     string
	address  string // for messages, without a password
	token    string // "" for none
	http     http.Client
	retryFor time.Duration
	onRetry  func(err error, wait time.Duration)

	impatient bool        // FailUnlessReached
	reached   atomic.Bool // the server answered a call
}

// Option changes what New makes.
type Option func(*Client)

// Timeout bounds each attempt of a call. Default: 2 minutes.
func Timeout(d time.Duration) Option { return func(c *Client) { c.http.Timeout = d } }

// RetryFor bounds how long a call is tried again; 0 tries it once. Default: 30 s.
func RetryFor(d time.Duration) Option { return func(c *Client) { c.retryFor = d } }

// OnRetry has report called, concurrently, of each failure that is tried again after wait.
func OnRetry(report func(err error, wait time.Duration)) Option {
	return func(c *Client) { c.onRetry = report }
}

// FailUnlessReached has a call that finds no connection fail at once until the server has answered another call: an
// address that is wrong, or a server that does not run, is not waited for.
func FailUnlessReached() Option { return func(c *Client) { c.impatient = true } }

// Connections has the client keep up to n idle connections open, for n calls at the same time. Default: 64.
func Connections(n int) Option {
	return func(c *Client) { c.http.Transport.(*http.Transport).MaxIdleConnsPerHost = n }
}

// Token has each request carry a token, as "Authorization: Bearer TOKEN".
func Token(token string) Option { return func(c *Client) { c.token = token } }

// Authorities has the client trust only servers whose certificates these authorities signed. Default: the system's.
func Authorities(pool *x509.CertPool) Option {
	return func(c *Client) {
		c.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
}

// New makes a client of the server at address: http://HOST:PORT, https://…, or unix:/PATH.
func New(address string, options ...Option) (*Client, error) {
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute,
	}
	base := strings.TrimSuffix(address, "/")
	shown := base
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		base = "http://unix"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	} else {
		u, err := url.Parse(base)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			// The address may hold a password, so it is not shown.
			return nil, errors.New("a server's address must be http://HOST:PORT, https://HOST:PORT or unix:/PATH")
		}
		shown = u.Redacted()
	}
	c := &Client{base: base, address: shown, http: http.Client{Transport: transport, Timeout: 2 * time.Minute}, retryFor: 30 * time.Second}
	for _, option := range options {
		option(c)
	}
	return c, nil
}

// Close closes idle connections. Calls in flight continue.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call sends a request until it is answered, and reads the answer.
func call[T any](ctx context.Context, c *Client, path string, request wire.Request, read func(wire.Decoder) (T, error)) (T, error) {
	body := request.Encode(wire.MsgPack)
	attempt := func() (T, error) {
		answer, err := c.post(ctx, path, body)
		if err == nil {
			v, err := wire.Decode(wire.MsgPack, answer, read)
			if err != nil {
				err = backoff.Permanent(fmt.Errorf("%s: the server's answer cannot be decoded: %w", path, err))
			}
			return v, err
		}
		var none T
		unsent := neverSent(err)
		if !errors.Is(err, ErrUnavailable) || untrusted(err) || path == pathDelete && !unsent || unsent && c.impatient && !c.reached.Load() {
			err = backoff.Permanent(err)
		}
		return none, err
	}
	return backoff.RetryNotifyWithData(attempt, backoff.WithContext(c.schedule(), ctx), c.onRetry)
}

func (c *Client) schedule() backoff.BackOff {
	if c.retryFor == 0 {
		return &backoff.StopBackOff{}
	}
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(c.retryFor))
}

func (c *Client) post(ctx context.Context, path string, body *wire.Body) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, body.Reader())
	if err != nil {
		return nil, err
	}
	request.ContentLength = body.Len()
	request.Header.Set("Content-Type", wire.MsgPack.ContentType())
	request.Header.Set("Accept", wire.MsgPack.ContentType())
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unavailable(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := readAll(response)
	if err != nil {
		return nil, c.unavailable(ctx, err)
	}
	c.reached.Store(true)
	if response.StatusCode != http.StatusOK {
		return nil, remoteError(response, answer)
	}
	return answer, nil
}

// readAll reads the body into one buffer of its size, which is taken on trust up to a GiB.
func readAll(r *http.Response) ([]byte, error) {
	if r.ContentLength < 0 || r.ContentLength > 1<<30 {
		return io.ReadAll(r.Body)
	}
	body := bytes.NewBuffer(make([]byte, 0, r.ContentLength+bytes.MinRead))
	_, err := body.ReadFrom(r.Body)
	return body.Bytes(), err
}
