// SPDX-License-Identifier: GPL-3.0-or-later

package httpapi

import (
	"context"
	"net/http"
	"net/netip"
	"regexp"
)

// Origin says where a request came from.
type Origin struct {
	Client    string // the client's name, "" for an unknown one
	Address   string // of the client's end of the connection
	RequestID string // in the log, and in the header X-Request-Id of the answer
	TraceID   string // of W3C Trace Context, "" without one
}

// Peer is whose limits a request counts for: those of the client's name, or else of
// its host. It is "" for a client of a unix socket, which has no limits of its own.
func (o Origin) Peer() string {
	if o.Client != "" {
		return "name " + o.Client
	}
	return hostOf(o.Address)
}

// hostOf returns the host of a client's address, which is the network of an IPv6
// address: one host has 2^64 of these. It is "" for a unix socket.
func hostOf(address string) string {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	host := peer.Addr().Unmap()
	if host.Is6() {
		network, _ := host.Prefix(64)
		return network.String()
	}
	return host.String()
}

type originKey struct{}

// OriginOf returns the origin of the request that ctx belongs to.
func OriginOf(ctx context.Context) Origin {
	origin, _ := ctx.Value(originKey{}).(Origin)
	return origin
}

func withOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// traceParent is the header traceparent of W3C Trace Context, level 1. Later
// versions may append to it.
var traceParent = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)`)

// traceID returns the trace id that a request carries.
func traceID(r *http.Request) string {
	parts := traceParent.FindStringSubmatch(r.Header.Get("Traceparent"))
	if parts == nil || parts[1] == "00000000000000000000000000000000" {
		return ""
	}
	return parts[1]
}
