// SPDX-License-Identifier: GPL-3.0-or-later

package access

import (
	"crypto/sha256"
	"crypto/x509"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"winery/internal/httpapi"
)

// Guard decides by an access file. Its methods may be called concurrently.
type Guard struct {
	path string
	list atomic.Pointer[list]
}

// NewGuard reads the access file at path.
func NewGuard(path string) (*Guard, error) {
	g := &Guard{path: path}
	return g, g.Reload()
}

// Reload reads the access file again. After an error the guard decides as before.
func (g *Guard) Reload() error {
	l, err := read(g.path)
	if err == nil {
		g.list.Store(l)
	}
	return err
}

// Expiries returns when the access of each client ends that has a last day.
func (g *Guard) Expiries() map[string]time.Time {
	l, found := g.list.Load(), map[string]time.Time{}
	for _, c := range append(slices.Collect(maps.Values(l.tokens)), slices.Collect(maps.Values(l.certificates))...) {
		if !c.expires.IsZero() {
			found[c.name] = c.expires
		}
	}
	return found
}

// Admit implements [httpapi.Access].
func (g *Guard) Admit(w http.ResponseWriter, r *http.Request, needed httpapi.Right) (client string, err error) {
	l := g.list.Load()
	c, err := l.identify(r)
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="winery", error="invalid_token"`)
		return "", err
	}
	switch {
	case c == nil && !l.anonymous[needed]:
		w.Header().Set("WWW-Authenticate", `Bearer realm="winery"`)
		return "", httpapi.Refuse(http.StatusUnauthorized, "this request needs a token (header Authorization: Bearer TOKEN) or a client certificate")
	case c == nil:
		return "", nil
	case !c.rights[needed]:
		return c.name, httpapi.Refuse(http.StatusForbidden, "client %s does not have the right %q: an operator grants it in the writer's access file", c.name, needed)
	}
	return c.name, nil
}

// identify returns the client that sent a request, nil for one without credentials.
func (l *list) identify(r *http.Request) (*client, error) {
	c, err := l.named(r)
	if c != nil && !c.expires.IsZero() && !time.Now().Before(c.expires) {
		return nil, httpapi.Refuse(http.StatusUnauthorized, "the access of client %s expired on %s: an operator renews it in the writer's access file",
			c.name, c.expires.AddDate(0, 0, -1).Format(time.DateOnly))
	}
	return c, err
}

func (l *list) named(r *http.Request) (*client, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return nil, httpapi.Refuse(http.StatusUnauthorized, "the header Authorization must be of the form: Bearer TOKEN")
		}
		if c := l.tokens[sha256.Sum256([]byte(strings.TrimSpace(token)))]; c != nil {
			return c, nil
		}
		return nil, httpapi.Refuse(http.StatusUnauthorized, "the token is not known: it may be revoked or mistyped")
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil, nil
	}
	names := alternativeNames(r.TLS.VerifiedChains[0][0])
	for _, name := range names {
		if c := l.certificates[name]; c != nil {
			return c, nil
		}
	}
	return nil, httpapi.Refuse(http.StatusUnauthorized, "no client has a certificate with one of these subject alternative names: %q", names)
}

func alternativeNames(c *x509.Certificate) []string {
	names := append(append([]string{}, c.DNSNames...), c.EmailAddresses...)
	for _, uri := range c.URIs {
		names = append(names, uri.String())
	}
	return names
}
