package packaging

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The operations guide names commands and settings that exist.
func TestOperationsGuide(t *testing.T) {
	t.Parallel()
	guide := projectFile(t, "docs/OPERATIONS.md")
	commands := regexp.MustCompile(`(?:exec hsi hsi|^hsi --env-file FILE) ([a-z][a-z -]*)`).FindAllStringSubmatch(guide, -1)
	require.Greater(t, len(commands), 5)
	path := program(t)
	for _, found := range commands {
		arguments := strings.Fields(found[1])
		output, exit := try(path, append(arguments, "--help")...)
		require.Zero(t, exit, "hsi %s: %s", found[1], output)
	}
	for _, option := range regexp.MustCompile(`scripts/env\.sh (--[a-z]+)`).FindAllStringSubmatch(guide, -1) {
		makeEnvFile(t, option[1])
	}
	envFile, _ := makeEnvFile(t, "--ai")
	loaded := mustLoad(t, envFile)
	known := projectFile(t, "docker-compose.yml") + projectFile(t, "README.md") + projectFile(t, "scripts/env.sh")
	for _, name := range regexp.MustCompile("`([A-Z]+_[A-Z_]+)[=`]").FindAllStringSubmatch(guide, -1) {
		require.Contains(t, known, name[1], "a setting of the guide")
	}
	for _, name := range regexp.MustCompile(`docker compose (?:exec|logs|up)(?: -[-a-zA-Z]+| 10m)* ([a-z]+)`).FindAllStringSubmatch(guide, -1) {
		require.Contains(t, loaded.Services, name[1], "a service of the guide")
	}
}
