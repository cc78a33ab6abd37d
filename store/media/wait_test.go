package media_test

import (
	"strings"
	"time"
)

// How long tests wait for something that happens in the background, and how often they look.
const (
	waitFor = 20 * time.Second
	tick    = 2 * time.Millisecond
)

func contains(text, part string) bool { return strings.Contains(text, part) }
