// SPDX-License-Identifier: GPL-3.0-or-later

// Package metrics measures what the roles do, for two kinds of monitoring. Each
// method of [Client] is one measurement, and goes to both:
//
//   - a registry of Prometheus metrics ([Client.Registry]), which package telemetry
//     serves: names begin with winery_, units are seconds and bytes;
//   - a statsd server, if the environment names one, under the names and tags of
//     Python Winery, so that dashboards keep their meaning. What Python does not
//     have and newer measurements go to the registry only, except for those of
//     the first releases (names in metrics.go).
//
// docs/operations.md has all metrics, with both names.
//
// # statsd
//
// The environment says where to, as in Python: STATSD_HOST, STATSD_PORT
// (default 8125), and STATSD_TAGS, tags for all of them in the form
// "key:value,key:value", where a value $NAME or ${NAME} is taken from the
// environment. Without STATSD_HOST nothing is sent, where Python sends to
// localhost.
//
// Metrics are datagrams in the form that DogStatsD and statsd_exporter read.
// Metrics never delay or fail the measured work: a datagram that cannot be sent
// is dropped. Counts and gauges are aggregated for two seconds before they are
// sent; timings, in milliseconds, are sent one by one, several in a datagram.
//
// What is timed and fails is counted under the name with _error_count
// appended, with a tag error_type.
package metrics
