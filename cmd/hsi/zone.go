package main

import (
	"os"
	"strings"
	"time"
	_ "time/tzdata" // small images have no zones of their own, and every zone that a client names must be known
)

// localZone is the server's time zone with its IANA name, which time.Local does not tell. tz is the
// variable TZ. UTC where the system does not name its zone.
func localZone(tz string) *time.Location {
	name := strings.TrimPrefix(tz, ":")
	if name == "" {
		link, err := os.Readlink("/etc/localtime")
		if err != nil {
			return time.UTC
		}
		_, name, _ = strings.Cut(link, "zoneinfo/")
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return time.UTC
	}
	return zone
}
