package store

import "time"

// For the tests that look at query plans.
const (
	ListGPUSamplesQuery = listGPUSamplesQuery
	WaitingImagesQuery  = waitingImagesQuery
	BatchWaits          = batchWaits
	QueueDepthsQuery    = queueDepthsQuery
	HeirQuery           = heirQuery
	SameContentQuery    = sameContentQuery
	CountKnownQuery     = countKnownQuery
	ListKnownQuery      = listKnownQuery
)

// MigrationLock is for the test that takes it.
const MigrationLock int64 = migrationLock

// DeadLettersQuery is for them too: its text follows the selection.
var DeadLettersQuery = deadLettersQuery

// RereadEvery sets how often Run reads without having been told to.
func (s *SystemConfigs) RereadEvery(d time.Duration) { s.rereadEvery = d }

// Storable is for the tests of the identity of an image.
var Storable = storable

// Identity is the identity of a key.
func Identity(key ImageKey) string {
	identity, _ := key.identity(nil)
	return identity
}
