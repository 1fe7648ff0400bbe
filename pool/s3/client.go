// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	connectTimeout = 5 * time.Second
	// stallTimeout is how long a connection may neither send nor receive a byte: a
	// store that completes a large upload sends nothing meanwhile.
	stallTimeout = time.Minute
	idlePerHost  = 128 // connections that are kept for the next request
)

// newClient makes a client that sends each request once: [Pool.retry] repeats it. It
// connects to nothing.
func newClient(s Settings) (*s3.Client, *http.Transport, error) {
	stall := min(stallTimeout, s.Patience)
	web := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return stalling{c, stall}, nil
		}
		t.TLSHandshakeTimeout = connectTimeout
		t.MaxIdleConns = 0
		t.MaxIdleConnsPerHost = idlePerHost
		t.IdleConnTimeout = stallTimeout / 2
		// One request a connection: a stalled body is noticed by its connection.
		t.ForceAttemptHTTP2 = false
		t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		if s.Insecure {
			t.TLSClientConfig.InsecureSkipVerify = true
		}
	})
	load := []func(*config.LoadOptions) error{config.WithHTTPClient(web)}
	if s.Region != "" {
		load = append(load, config.WithRegion(s.Region))
	}
	if s.AccessKey != "" || s.SecretKey != "" {
		load = append(load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, s.SessionToken)))
	}
	if s.Anonymous {
		load = append(load, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	}
	if s.CABundle != "" {
		pem, err := os.Open(s.CABundle)
		if err != nil {
			return nil, nil, fmt.Errorf("verify: %w", err)
		}
		defer pem.Close()
		load = append(load, config.WithCustomCABundle(pem))
	}
	cfg, err := config.LoadDefaultConfig(context.Background(), load...)
	if err != nil {
		return nil, nil, fmt.Errorf("the settings of the AWS SDK: %w", err)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	transport := cfg.HTTPClient.(*awshttp.BuildableClient).GetTransport() // with the authorities of AWS_CA_BUNDLE
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.HTTPClient = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		if s.Endpoint != "" {
			o.BaseEndpoint = &s.Endpoint
		}
		o.UsePathStyle = s.Addressing == PathStyle || s.Addressing == Auto && o.BaseEndpoint != nil
		o.Retryer = aws.NopRetryer{}
		// Many stores do not know the checksums that Amazon added in 2022. Uploads send
		// Content-MD5, which all of them verify, and what was uploaded is read again.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	return client, transport, nil
}

var dialer = net.Dialer{Timeout: connectTimeout}

// stalling is a connection that fails when nothing moves on it for limit.
type stalling struct {
	net.Conn
	limit time.Duration
}

func (c stalling) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// Write also prolongs a Read in progress, which waits for the answer to what is sent.
func (c stalling) Write(b []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
