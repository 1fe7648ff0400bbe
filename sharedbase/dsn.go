// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// libpqIgnored are parameters of a DSN that mean something to libpq only: pgx would hand them to the server, which
// refuses them. What they ask for is translated here, replaced by the settings of dialer, or does no harm when left out.
var libpqIgnored = []string{
	"fallback_application_name", "gssdelegation", "gssencmode", "gsslib", "keepalives", "keepalives_count",
	"keepalives_idle", "keepalives_interval", "load_balance_hosts", "replication", "requiressl", "ssl_max_protocol_version",
	"ssl_min_protocol_version", "sslcompression", "sslkeylogfile", "tcp_user_timeout",
}

// libpqRefused are parameters of a DSN that cannot be ignored and are not
// supported, each with the cure.
var libpqRefused = map[string]string{
	"hostaddr":            "put the address in host",
	"oauth_client_id":     "use another method of authentication",
	"oauth_client_secret": "use another method of authentication",
	"oauth_issuer":        "use another method of authentication",
	"oauth_scope":         "use another method of authentication",
	"requirepeer":         "remove the parameter, and let only the server's user write to the socket's folder",
	"scram_client_key":    "use a password, in the DSN or in passfile",
	"scram_server_key":    "use a password, in the DSN or in passfile",
	"sslcrl":              "remove the parameter, and replace sslrootcert to stop trusting a certificate",
	"sslcrldir":           "remove the parameter, and replace sslrootcert to stop trusting a certificate",
}

// parseDSN reads a DSN as psycopg does: parameters of libpq that pgx does not know are translated, left out, or
// refused with the cure. MaxConns of the result is 0 where the DSN has no pool_max_conns.
func parseDSN(dsn string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, dsnError(dsn, err)
	}
	params := cfg.ConnConfig.RuntimeParams
	if strings.HasPrefix(params["requiressl"], "1") && !strings.Contains(dsn, "sslmode") {
		return parseDSN(withParameter(dsn, "sslmode", "require"))
	}
	if err := refuse(params); err != nil {
		return nil, err
	}
	if err := limitTLS(cfg.ConnConfig.Config, params["ssl_min_protocol_version"], params["ssl_max_protocol_version"]); err != nil {
		return nil, err
	}
	for _, key := range libpqIgnored {
		delete(params, key)
	}
	params["client_encoding"] = "UTF8" // the encoding that pgx expects, whatever the DSN or the database prefer
	// pgxpool has removed pool_max_conns from the parameters, and applies a
	// default.
	if plain, err := pgconn.ParseConfig(dsn); err != nil || plain.RuntimeParams["pool_max_conns"] == "" {
		cfg.MaxConns = 0
	}
	return cfg, nil
}

// refuse returns an error for parameters that cannot be ignored and are not supported. An empty value is
// the same as no parameter.
func refuse(params map[string]string) error {
	for key, cure := range libpqRefused {
		if params[key] != "" {
			return refused(key, cure)
		}
		delete(params, key)
	}
	if params["gssencmode"] == "require" {
		return refused("gssencmode=require", "use sslmode=require")
	}
	switch strings.ToLower(params["replication"]) {
	case "", "0", "false", "no", "off":
		return nil
	}
	return refused("replication", "remove the parameter")
}

func refused(parameter, cure string) error {
	return fmt.Errorf("the database's DSN has %s, which Winery does not support: %s", parameter, cure)
}

// withParameter adds a parameter to a DSN of either form.
func withParameter(dsn, key, value string) string {
	switch {
	case !strings.Contains(dsn, "://"):
		return dsn + " " + key + "=" + value
	case strings.Contains(dsn, "?"):
		return dsn + "&" + key + "=" + value
	}
	return dsn + "?" + key + "=" + value
}

var tlsVersions = map[string]uint16{
	"": 0, "tlsv1": tls.VersionTLS10, "tlsv1.1": tls.VersionTLS11, "tlsv1.2": tls.VersionTLS12, "tlsv1.3": tls.VersionTLS13,
}

// limitTLS sets the least and the greatest version of TLS, by libpq's names.
func limitTLS(cfg pgconn.Config, least, greatest string) error {
	from, knownFrom := tlsVersions[strings.ToLower(least)]
	to, knownTo := tlsVersions[strings.ToLower(greatest)]
	if !knownFrom || !knownTo {
		return refused("an unknown version of TLS", "ssl_min_protocol_version and ssl_max_protocol_version are TLSv1.2 or TLSv1.3")
	}
	configs := []*tls.Config{cfg.TLSConfig}
	for _, f := range cfg.Fallbacks {
		configs = append(configs, f.TLSConfig)
	}
	for _, c := range configs {
		if c != nil {
			c.MinVersion, c.MaxVersion = from, to
		}
	}
	return nil
}

// dsnError leaves out what pgx quotes of a DSN that may hold a password: its masking is best effort.
func dsnError(dsn string, err error) error {
	var file *fs.PathError
	if errors.As(err, &file) {
		return fmt.Errorf("the database's DSN names a file that cannot be read: %w", file)
	}
	if strings.Contains(dsn, "@") || strings.Contains(dsn, "pass") {
		return errors.New("the database's DSN cannot be parsed: it must be a postgresql:// URL or key=value pairs " +
			"with special characters escaped; its certificates must be valid, and its service must exist")
	}
	return fmt.Errorf("the database's DSN: %w", err)
}
