// SPDX-License-Identifier: GPL-3.0-or-later

package sharedbase_test

import (
	"strings"
	"testing"

	"winery/sharedbase"
	"winery/test/pgtest"
)

// Every parameter that libpq knows, from PostgreSQL 15 to 18, is accepted and connects, or is refused with the cure.
func TestParametersOfLibpq(t *testing.T) {
	dsn := keyValue(t, pgtest.Start(t).DSN)         // it asks for the password as one in production
	for parameter, cure := range map[string]string{ // "": accepted
		"application_name=a": "", "channel_binding=prefer": "", "client_encoding=LATIN1": "", "client_encoding=auto": "",
		"connect_timeout=3": "", "fallback_application_name=a": "", "gssdelegation=0": "", "gssencmode=disable": "",
		"gssencmode=prefer": "", "gsslib=gssapi": "", "keepalives=1": "", "keepalives_count=1": "", "keepalives_idle=1": "",
		"keepalives_interval=1": "", "krbsrvname=postgres": "", "load_balance_hosts=random": "", "max_protocol_version=3.0": "",
		"min_protocol_version=3.0": "", "options='-c geqo=off'": "", "passfile=/nosuch": "", "replication=false": "",
		"require_auth=scram-sha-256": "", "requirepeer=": "", "requiressl=0": "", "ssl_max_protocol_version=TLSv1.3": "",
		"ssl_min_protocol_version=TLSv1.2": "", "sslcertmode=allow": "", "sslcompression=1": "", "sslcrl=": "",
		"sslkeylogfile=/nosuch": "", "sslmode=prefer": "", "sslnegotiation=postgres": "", "sslpassword=x": "", "sslsni=1": "",
		"target_session_attrs=read-write": "", "tcp_user_timeout=1000": "", "hostaddr=": "",

		"gssencmode=require": "sslmode=require", "hostaddr=127.0.0.1": "in host", "oauth_client_id=x": "authentication",
		"oauth_client_secret=x": "authentication", "oauth_issuer=x": "authentication", "oauth_scope=x": "authentication",
		"replication=database": "remove the parameter", "requirepeer=postgres": "remove the parameter", "scram_client_key=x": "passfile",
		"scram_server_key=x": "passfile", "ssl_min_protocol_version=3": "TLSv1.2", "sslcrl=/nosuch": "sslrootcert",
		"sslcrldir=/nosuch": "sslrootcert",
		"sslrootcert=/nosuch/root.crt sslmode=verify-full password=x": "/nosuch/root.crt",
		"sslcert=/nosuch/client.crt sslkey=/nosuch/client.key":        "/nosuch/client",
	} {
		b, err := sharedbase.New(dsn+" "+parameter, "winery test")
		if cure != "" {
			if err == nil || !strings.Contains(err.Error(), cure) {
				t.Errorf("%s: error %v, want one that says %q", parameter, err, cure)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", parameter, err)
			continue
		}
		if _, err := b.Init(t.Context()); err != nil {
			t.Errorf("%s: %v", parameter, err)
		}
		b.Close()
	}
}

// requiressl=1, in either form of a DSN, refuses a server that has no TLS.
func TestRequireSSL(t *testing.T) {
	dsn := pgtest.New(t)
	for _, form := range []string{keyValue(t, dsn) + " requiressl=1", dsn + "?requiressl=1"} {
		if err := open(t, form).CheckVersion(t.Context()); err == nil || !strings.Contains(err.Error(), "refused TLS") {
			t.Errorf("%s: error %v", form, err)
		}
	}
}
