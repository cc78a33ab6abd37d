// Package beat lets what a server does now and then happen at the same moments, so that a server
// with nothing else to do wakes up once for all of it and sleeps in between. The Linux kernel
// rounds its timers for the same reason.
package beat

import "time"

// Until is how long it is from now to the next beat: the next time that is a multiple of the
// interval since the zero time. It is more than 0 and at most the interval.
func Until(now time.Time, interval time.Duration) time.Duration {
	return now.Truncate(interval).Add(interval).Sub(now)
}
