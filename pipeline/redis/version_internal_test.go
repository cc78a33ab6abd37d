package redis

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersionFrom(t *testing.T) {
	t.Parallel()
	for info, want := range map[string]string{
		"# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n": "7.0.15",
		"redis_version:\r\n":                        "unknown",
		"redis_version:\r\nredis_version:7.2.0\r\n": "7.2.0",
		"server_name:valkey\r\nold_redis_version:1": "unknown",
		"": "unknown",
	} {
		require.Equal(t, want, versionFrom(info), info)
	}
}
