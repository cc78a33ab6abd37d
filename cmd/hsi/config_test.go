package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLoadConfig_Defaults(t *testing.T) {
	t.Parallel()
	cfg, err := loadConfig(nil)
	require.NoError(t, err)
	dataDir, err := filepath.Abs("./data")
	require.NoError(t, err)
	require.Equal(t, dataDir, cfg.DataDir)
	require.Equal(t, filepath.Join(dataDir, "cameras"), cfg.CameraRoot)
	require.Equal(t, filepath.Join(dataDir, "thumbnails"), cfg.ThumbnailsDir)
	require.Equal(t, filepath.Join(dataDir, "clips"), cfg.ClipsDir)
	require.Equal(t, "127.0.0.1:8000", cfg.listenAddress())
	require.False(t, cfg.exposed())
	require.False(t, bool(cfg.PicturesWithoutKey))
	require.Equal(t, 30, cfg.RetentionDays)
	require.Equal(t, 90*time.Second, cfg.systemConfig().BatchWindow)
	require.Equal(t, 30*time.Second, cfg.systemConfig().BatchIdleTimeout)
	require.InDelta(t, 0.5, cfg.DetectionConfidenceThreshold, 0)
	require.Equal(t, "Home Security Intelligence", cfg.AppName)
	require.NotEmpty(t, cfg.AppVersion)
}

func TestLoadConfig_ReadsEverySpelling(t *testing.T) {
	t.Parallel()
	cfg, err := loadConfig([]string{
		"CAMERA_ROOT=/export/foscam", "API_KEYS=[\"first-key-1\", \"sha256:" + strings.Repeat("ab", 32) + "\"]", "API_KEY_ENABLED=Yes",
		"CORS_ORIGINS=http://a.example:3000, https://b.example", "TRUSTED_PROXY_IPS=10.0.0.1,192.168.0.0/16",
		"DATABASE_URL=postgresql+asyncpg://u:p@db:5432/security", "BATCH_WINDOW_SECONDS=60", "FILE_WATCHER_POLLING_INTERVAL=0.25",
		"LOG_LEVEL=warning", "APP_NAME=", "API_HOST=::", "PICTURES_WITHOUT_KEY=no",
	})
	require.NoError(t, err)
	require.Equal(t, "/export/foscam", cfg.CameraRoot)
	require.Equal(t, []string{"first-key-1", "sha256:" + strings.Repeat("ab", 32)}, []string(cfg.APIKeys))
	require.True(t, bool(cfg.APIKeyEnabled))
	require.False(t, bool(cfg.PicturesWithoutKey))
	require.Equal(t, []string{"http://a.example:3000", "https://b.example"}, []string(cfg.CORSOrigins))
	require.Equal(t, "10.0.0.1/32,192.168.0.0/16", cfg.TrustedProxyIPs.String())
	require.Equal(t, 250*time.Millisecond, time.Duration(cfg.WatcherPollingInterval))
	require.Equal(t, "Home Security Intelligence", cfg.AppName, "an empty variable means the default")
	require.Equal(t, "[::]:8000", cfg.listenAddress())
	require.True(t, cfg.exposed())
}

func TestLoadConfig_ReportsAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	wrong := map[string]string{
		"API_KEY_ENABLED": "maybe", "API_PORT": "70000", "RTDETR_READ_TIMEOUT": "soon", "LOG_LEVEL": "loud",
		"TRUSTED_PROXY_IPS": "nowhere", "RETENTION_DAYS": "x",
		// these parse, and are wrong all the same
		"BATCH_WINDOW_SECONDS": "0", "API_KEYS": "abc", "DATABASE_URL": "mysql://h/x", "ALLOWED_HOSTS": "a b", "CORS_ORIGINS": "http://x#f",
	}
	var environ []string
	for name, value := range wrong {
		environ = append(environ, name+"="+value)
	}
	_, err := loadConfig(environ)
	for name := range wrong {
		require.ErrorContains(t, err, name+":")
	}
	require.Equal(t, 1, strings.Count(err.Error(), "RETENTION_DAYS"), "once each")
}

func TestLoadConfig_CameraRootBesideAnEmptyVariable(t *testing.T) {
	t.Parallel()
	cfg, err := loadConfig([]string{"FOSCAM_BASE_PATH=", "CAMERA_ROOT=/export/foscam"})
	require.NoError(t, err)
	require.Equal(t, "/export/foscam", cfg.CameraRoot)
}

func TestLoadConfig_RefusesWhatCannotBeHonoured(t *testing.T) {
	t.Parallel()
	for name, environ := range map[string][]string{
		"API_KEYS":                       {"API_KEY_ENABLED=true"},
		"API_KEYS: key 2":                {"API_KEYS=long-enough-key,short"},
		"API_KEYS: key 1: sha256":        {"API_KEYS=sha256:12"},
		"PICTURES_WITHOUT_KEY":           {"PICTURES_WITHOUT_KEY=true", "API_KEY_ENABLED=true", "API_KEYS=long-enough-key"},
		"RETENTION_DAYS":                 {"RETENTION_DAYS=366"},
		"BATCH_WINDOW_SECONDS":           {"BATCH_WINDOW_SECONDS=0"},
		"BATCH_IDLE_TIMEOUT_SECONDS":     {"BATCH_IDLE_TIMEOUT_SECONDS=1.5"},
		"DETECTION_CONFIDENCE_THRESHOLD": {"DETECTION_CONFIDENCE_THRESHOLD=NaN"},
		"SEVERITY_LOW_MAX":               {"SEVERITY_LOW_MAX=60"},
		"CORS_ORIGINS":                   {"CORS_ORIGINS=*"},
		"DATABASE_URL":                   {"DATABASE_URL=mysql://u:hunter22@h/db"},
		"DATABASE_URL: is not a URL":     {"DATABASE_URL=postgres://u:hunter22%zz@h/db"},
		"REDIS_URL":                      {"REDIS_URL=localhost:6379"},
		"RTDETR_URL":                     {"RTDETR_URL=rtdetr:8090"},
		"GPU_POLL_INTERVAL_SECONDS":      {"GPU_POLL_INTERVAL_SECONDS=0"},
		"API_HOST":                       {"API_HOST=not a host"},
	} {
		_, err := loadConfig(environ)
		require.ErrorContains(t, err, name)
		require.NotContains(t, err.Error(), "hunter22")
	}
}

func TestConfig_PrintShowsNoSecret(t *testing.T) {
	t.Parallel()
	cfg, err := loadConfig([]string{
		"API_KEYS=hunter22-key", "RTDETR_API_KEY=hunter22", "NEMOTRON_API_KEY=hunter22", "DATABASE_URL=postgres://u:hunter22@db/x?password=hunter22",
		"REDIS_URL=redis://:hunter22@r:6379/1", "RTDETR_URL=http://u:hunter22@ai:8090",
	})
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, cfg.print(&out))
	require.NotContains(t, out.String(), "hunter22")
	require.Contains(t, out.String(), "postgres://u:xxx@db/x")
	require.Regexp(t, `(?m)^NEMOTRON_URL\s+\(built-in rule scorer\)$`, out.String())
}

// README is where people look a setting up: each must be there.
func TestConfig_EverySettingIsInReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	cfg, err := loadConfig(nil)
	require.NoError(t, err)
	for _, s := range cfg.settings() {
		require.NotEmpty(t, s.Name)
		require.Contains(t, string(readme), s.Name)
	}
}

func TestNewAPIKey(t *testing.T) {
	t.Parallel()
	key, hash := newAPIKey()
	other, _ := newAPIKey()
	require.NotEqual(t, key, other)
	require.Len(t, key, 43)
	require.NoError(t, checkAPIKey(key))
	require.NoError(t, checkAPIKey(hash))
}
