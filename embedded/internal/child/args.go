package child

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// settingArgs turns settings into "-c name=value" arguments, sorted by name.
func settingArgs(settings map[string]string) []string {
	var args []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// escapeQuery escapes a path for the query of a URL and leaves it readable.
func escapeQuery(path string) string {
	return strings.ReplaceAll(url.QueryEscape(path), "%2F", "/")
}

// RedisArgs are the arguments of a server that works in home, with its socket in runDir, and
// settings on top.
func RedisArgs(home, runDir string, settings map[string]string) []string {
	args := []string{
		"--port", "0", "--unixsocket", RedisSocket(runDir), "--unixsocketperm", "700", "--dir", home,
		"--daemonize", "no", "--logfile", "", "--always-show-logo", "no", "--set-proc-title", "no",
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "--"+name, settings[name])
	}
	return args
}
