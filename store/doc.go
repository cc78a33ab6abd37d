// Package store keeps everything that is at rest in PostgreSQL: the ledger of images, batches,
// detections, events, GPU samples, logs, the audit trail and the live configuration. It owns the
// record types and is the only package (with its children) that knows SQL.
//
// Every method takes a context and ends by its deadline, also while the server is frozen; a context
// without a deadline gets one of 30 s. Every error is one of the kinds in errors.go, found with
// errors.Is. Times are stored with microseconds and returned in UTC. Leases and stage times are
// measured by the clock of the database, so that several machines and a stepped local clock cannot
// disagree about them.
package store
