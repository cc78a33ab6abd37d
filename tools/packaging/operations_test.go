package packaging

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// The operations guide names options, settings and services that exist; TestImage_Program looks for
// the commands.
func TestOperationsGuide(t *testing.T) {
	t.Parallel()
	guide := projectFile(t, "docs/OPERATIONS.md")
	all := func(pattern string) [][]string {
		found := regexp.MustCompile(pattern).FindAllStringSubmatch(guide, -1)
		require.NotEmpty(t, found, pattern)
		return found
	}
	for _, option := range all(`scripts/env\.sh (--[a-z]+)`) {
		makeEnvFile(t, option[1])
	}
	known := projectFile(t, "docker-compose.yml") + projectFile(t, "README.md") + projectFile(t, "scripts/env.sh")
	for _, name := range all("`([A-Z]+_[A-Z_]+)[=`]") {
		require.Contains(t, known, name[1], "a setting of the guide")
	}
	envFile, _ := makeEnvFile(t, "--ai")
	services := load(t, envFile).Services
	for _, name := range all(`docker compose (?:exec|logs|up)(?: -[-a-zA-Z]+| 10m)* ([a-z]+)`) {
		require.Contains(t, services, name[1], "a service of the guide")
	}
}
