// Package embeddedtest gives tests real PostgreSQL and Redis servers: fast ones, on a RAM disk
// where there is one, that end with the test process however it ends. Call Main from TestMain.
package embeddedtest
