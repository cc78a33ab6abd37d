package queue

// All keys of this package, as Redis sees them. None expires: what they hold is a copy of what the
// ledger says and is kept small by the dispatcher and the workers.
//
//	hsi:queue:detect   stream, at most about 1,000 entries {id: decimal image id}; consumer group "workers"
//	hsi:queue:analyze  stream, the same with batch ids
const (
	keyPrefix = "hsi:queue:"
	groupName = "workers"
	idField   = "id"
)

// Name names a queue.
type Name string

// The queues.
const (
	Detect  Name = "detect"  // ids of images
	Analyze Name = "analyze" // ids of batches
)

// key is the stream of a queue.
func (n Name) key() string { return keyPrefix + string(n) }

// what says in words what waits in the queue.
func (n Name) what() string {
	if n == Analyze {
		return "batches"
	}
	return "images"
}
