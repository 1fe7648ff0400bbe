// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strconv"
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
	if hasStrayAt(dsn) {
		return nil, errors.New("the database's DSN has an @ in the host or the database's name: write special characters of user and password as %XX")
	}
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, dsnError(err)
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

// limitTLS sets the minimum and the maximum version of TLS, by libpq's names.
func limitTLS(cfg pgconn.Config, minVersion, maxVersion string) error {
	from, knownFrom := tlsVersions[strings.ToLower(minVersion)]
	to, knownTo := tlsVersions[strings.ToLower(maxVersion)]
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

// hasStrayAt tells whether a URL has an @ behind its user and password. The password then has an @ or a slash that is not
// escaped, and its rest would be shown as a host or a database in messages.
func hasStrayAt(dsn string) bool {
	scheme, rest, _ := strings.Cut(dsn, "://")
	rest, _, _ = strings.Cut(rest, "?")
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		rest = rest[i+1:]
	}
	return (scheme == "postgresql" || scheme == "postgres") && strings.Contains(rest, "@")
}

// dsnFaults are parts of pgx's messages about a DSN, each with the fault and its cure.
var dsnFaults = []struct{ part, fault string }{
	{"failed to parse as URL", "is not a valid URL: write special characters of user and password as %XX"},
	{"failed to parse as keyword/value", "is neither a postgresql:// URL nor key=value pairs: put a value with spaces in single quotes"},
	{"failed to read service", "names a service that cannot be read: check its name, and ~/.pg_service.conf or PGSERVICEFILE"},
	{"invalid port", "has an invalid port: it must be from 1 to 65535, and special characters of user and password must be written as %XX"},
	{"port numbers to", "has several ports: write one port, or as many ports as hosts"},
	{"sslmode is invalid", "has an invalid sslmode: it must be disable, allow, prefer, require, verify-ca or verify-full"},
	{`both "sslcert" and "sslkey"`, "has only one of sslcert and sslkey: write both"},
	{"does not match public key", "has an sslkey that is not the key of the sslcert: complete the renewal, or correct the names"},
	{"failed to configure TLS", "has an invalid sslcert, sslkey, sslrootcert or sslpassword: correct it"},
	{"invalid connect_timeout", "has an invalid connect_timeout: it must be a number of seconds"},
	{"unknown target_session_attrs", "has an invalid target_session_attrs: it must be any, read-write, read-only, primary, standby or prefer-standby"},
	{"unknown channel_binding", "has an invalid channel_binding: it must be disable, prefer or require"},
	{"invalid require_auth", "has an invalid require_auth: correct it"},
	{"invalid sslcertmode", "has an invalid sslcertmode: it must be disable, allow or require"},
	{"_protocol_version", "has an invalid min_protocol_version or max_protocol_version: remove both"},
	{"pool_max_conns", "has an invalid pool_max_conns: it must be a whole number of at least 1"},
	{"cannot parse pool_", "has an invalid parameter pool_*: remove it"},
}

// dsnError says what is wrong without pgx's message, which quotes the DSN: its masking of passwords is best effort.
func dsnError(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("the database's DSN names a file that cannot be read: %w", file)
	}
	for _, f := range dsnFaults {
		if strings.Contains(err.Error(), f.part) {
			return errors.New("the database's DSN " + f.fault)
		}
	}
	return errors.New("the database's DSN cannot be parsed: it must be a postgresql:// URL, key=value pairs or service=NAME")
}

// CheckDSN returns the error with which New refuses a DSN.
func CheckDSN(dsn string) error {
	_, err := parseDSN(dsn)
	return err
}

// DescribeDSN returns where a DSN leads, without its password: "database d at host:5432 as user u". Its error is that of
// CheckDSN.
func DescribeDSN(dsn string) (string, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return "", err
	}
	c := cfg.ConnConfig
	servers := []string{address(c.Host, c.Port)}
	for _, f := range c.Fallbacks { // also the same server with and without TLS
		if server := address(f.Host, f.Port); !slices.Contains(servers, server) {
			servers = append(servers, server)
		}
	}
	return fmt.Sprintf("database %s at %s as user %s", cmp.Or(c.Database, c.User), strings.Join(servers, ", "), c.User), nil
}

func address(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
