package store

// For the tests that look at query plans.
const (
	ListGPUSamplesQuery = listGPUSamplesQuery
	WaitingImagesQuery  = waitingImagesQuery
	BatchWaits          = batchWaits
	HeirQuery           = heirQuery
	SameContentQuery    = sameContentQuery
)

// DeadLettersQuery is for them too: its text follows the selection.
var DeadLettersQuery = deadLettersQuery
