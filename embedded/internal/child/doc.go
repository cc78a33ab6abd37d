// Package child runs one PostgreSQL or Redis server as a child process: it finds the program,
// prepares a place for its data and its socket, starts it, asks whether it answers, and makes sure
// that nothing of it is left when it has ended.
//
// Both package embedded (for production) and package embeddedtest (for tests) are built on it.
// Linux only: it leans on parent-death signals, on /proc, and on locks that a child inherits.
package child
