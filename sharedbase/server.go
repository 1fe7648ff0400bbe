// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"context"
	"crypto/tls"
	"net"
)

// Server is what a PostgreSQL server says of itself, and how this process reaches it.
type Server struct {
	Version   string // of PostgreSQL
	Database  string
	User      string
	IsStandby bool // and read-only

	Connections    int  // that are open, to all databases
	MaxConnections int  // for users that are not superusers
	Pooled         bool // through a connection pooler, whose limits are not known

	Local     bool // over a Unix socket or the loopback interface
	Encrypted bool // by TLS
	Verified  bool // by TLS, and the server's certificate was checked
}

// Server asks the server about itself.
func (b *SharedBase) Server(ctx context.Context) (s Server, err error) {
	err = b.withShortTimeout(ctx, "asking the server about itself", func(ctx context.Context) error {
		conn, err := b.conns.rest.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		s.transport(conn.Conn().PgConn().Conn(), b.connect.TLSConfig)
		s.Pooled = b.pooler.found.Load()
		return conn.QueryRow(ctx, `/* winery: Server */
			SELECT current_setting('server_version'), current_database(), current_user, pg_is_in_recovery(),
				(SELECT sum(numbackends)::int FROM pg_stat_database WHERE datid <> 0),
				current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
					- coalesce(current_setting('reserved_connections', true)::int, 0)`).
			Scan(&s.Version, &s.Database, &s.User, &s.IsStandby, &s.Connections, &s.MaxConnections)
	})
	return s, err
}

// transport fills in how a connection is protected; wanted is its configuration, nil
// without TLS.
func (s *Server) transport(conn net.Conn, wanted *tls.Config) {
	address, isTCP := conn.RemoteAddr().(*net.TCPAddr)
	s.Local = !isTCP || address.IP.IsLoopback()
	_, s.Encrypted = conn.(*tls.Conn)
	// With verify-ca, pgx checks the certificate by a function of its own.
	s.Verified = s.Encrypted && wanted != nil && (!wanted.InsecureSkipVerify || wanted.VerifyPeerCertificate != nil)
}
