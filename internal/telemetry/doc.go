// SPDX-License-Identifier: GPL-3.0-or-later

// Package telemetry is the listener by which a process is observed. It is served
// before the process reaches its database, and until the process ends, so that an
// outage can be seen from outside.
//
//	/metrics       Prometheus metrics: what the process measures (package metrics),
//	               and what is asked of the database and the pools at the scrape
//	/livez         200 while the process makes progress or waits; it depends on no
//	               other service. 503: a restart is due
//	/readyz        200 while the role can work: a line for each condition. 503 if one
//	               does not hold, and winery_ready is 0
//	/debug/pprof/  Go's profiles, only for requests from this host
//
// # Time
//
// Each answer comes within a second, whatever hangs. The database and the pools
// are asked in the background, by one goroutine each. A scrape waits for the
// answers for half a second. What has not answered then counts as unavailable
// (winery_database_up, winery_pool_up), and its metrics are left out. Answers are
// kept: the statistics of the shards and the space of a pool for 15 s, the number of
// objects to be erased for a minute.
//
// # Secrets
//
// No answer has a host, a user, a path or a statement of the database: /readyz
// names what failed, and the process's log has the error itself. /metrics has the
// names of the clients whose access expires. The exception is /debug/pprof/, hence
// its restriction. TLS, passwords and client certificates are
// those of a web configuration file of Prometheus's exporter-toolkit, which is read
// again for each connection.
package telemetry
