package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"hsi.home.arpa/server"
	"hsi.home.arpa/store"
)

// Config holds the settings of one process. Each comes from the environment variable in its tag;
// README lists them.
type Config struct {
	// DataDir keeps everything private: embedded databases, thumbnails, clips and, by default, the
	// camera folders.
	DataDir string `env:"DATA_DIR" envDefault:"./data"`
	// EmbeddedDepsDir is where unpacked PostgreSQL and Redis packages lie; empty means only the
	// system's own.
	EmbeddedDepsDir string `env:"EMBEDDED_DEPS_DIR"`
	// DatabaseURL is a PostgreSQL URL; empty starts a private PostgreSQL under DataDir.
	DatabaseURL secretURL `env:"DATABASE_URL"`
	// RedisURL is a Redis URL; empty starts a private Redis under DataDir.
	RedisURL secretURL `env:"REDIS_URL"`

	// APIHost is the address to listen on. Elsewhere than on loopback without API keys a warning is
	// logged.
	APIHost string `env:"API_HOST" envDefault:"127.0.0.1"`
	// APIPort is the TCP port to listen on; 0 lets the system choose.
	APIPort uint16 `env:"API_PORT" envDefault:"8000"`
	// AllowedHosts are extra names that the Host check accepts.
	AllowedHosts stringList `env:"ALLOWED_HOSTS"`
	// APIKeyEnabled makes changes, and everything that shows what the cameras saw, require one of
	// APIKeys or a session.
	APIKeyEnabled flag `env:"API_KEY_ENABLED" envDefault:"false"`
	// APIKeys are plain keys or "sha256:<hex>" hashes of keys.
	APIKeys secretList `env:"API_KEYS"`
	// PicturesWithoutKey lets everybody who reaches the server see pictures and events while there
	// are no keys.
	PicturesWithoutKey flag `env:"PICTURES_WITHOUT_KEY" envDefault:"false"`
	// CORSOrigins may read from a browser and are trusted for writes; with none no CORS header is
	// sent.
	CORSOrigins stringList `env:"CORS_ORIGINS"`
	// TrustedProxyIPs are addresses or networks whose X-Forwarded-For is believed.
	TrustedProxyIPs prefixList `env:"TRUSTED_PROXY_IPS"`

	// AppName is shown by GET /api/system/config.
	AppName string `env:"APP_NAME" envDefault:"Home Security Intelligence"`
	// AppVersion is shown by GET /api/system/config; empty means the version of the build.
	AppVersion string `env:"APP_VERSION"`

	// CameraRoot has one folder per camera; empty means DataDir/cameras. Also read as CAMERA_ROOT.
	CameraRoot string `env:"FOSCAM_BASE_PATH"`
	// CameraOfflineAfter is after how long without a picture a camera counts as offline; 0: its
	// status is not known.
	CameraOfflineAfter seconds `env:"CAMERA_OFFLINE_AFTER_SECONDS" envDefault:"0"`
	// TimeZone is where days begin and end when a request does not say; empty means the system's.
	TimeZone string `env:"TZ"`
	// ThumbnailsDir keeps the thumbnails; empty means DataDir/thumbnails.
	ThumbnailsDir string `env:"VIDEO_THUMBNAILS_DIR"`
	// ClipsDir keeps the clips; empty means DataDir/clips.
	ClipsDir string `env:"CLIPS_DIRECTORY"`

	// RetentionDays, BatchWindow, BatchIdleTimeout and DetectionConfidenceThreshold hold until a
	// PATCH stores another value.
	RetentionDays                int     `env:"RETENTION_DAYS" envDefault:"30"`
	BatchWindow                  seconds `env:"BATCH_WINDOW_SECONDS" envDefault:"90"`
	BatchIdleTimeout             seconds `env:"BATCH_IDLE_TIMEOUT_SECONDS" envDefault:"30"`
	DetectionConfidenceThreshold float64 `env:"DETECTION_CONFIDENCE_THRESHOLD" envDefault:"0.5"`

	// CleanupDeleteImages also deletes original camera images of expired detections.
	CleanupDeleteImages flag `env:"CLEANUP_DELETE_IMAGES" envDefault:"false"`

	// RTDETRURL is the object detector's base URL; empty means the built-in motion detector.
	RTDETRURL         secretURL `env:"RTDETR_URL"`
	RTDETRAPIKey      secret    `env:"RTDETR_API_KEY"`
	RTDETRReadTimeout seconds   `env:"RTDETR_READ_TIMEOUT" envDefault:"60"`
	// DetectionWorkers is how many images are with RT-DETR at once. The built-in detector always
	// takes one at a time.
	DetectionWorkers int `env:"DETECTION_WORKERS" envDefault:"2"`
	// NemotronURL is the llama.cpp server's base URL; empty means the built-in rule scorer.
	NemotronURL         secretURL `env:"NEMOTRON_URL"`
	NemotronAPIKey      secret    `env:"NEMOTRON_API_KEY"`
	NemotronReadTimeout seconds   `env:"NEMOTRON_READ_TIMEOUT" envDefault:"120"`
	AIConnectTimeout    seconds   `env:"AI_CONNECT_TIMEOUT" envDefault:"10"`
	AIHealthTimeout     seconds   `env:"AI_HEALTH_TIMEOUT" envDefault:"5"`

	// GPUPollInterval is the time between two GPU samples.
	GPUPollInterval seconds `env:"GPU_POLL_INTERVAL_SECONDS" envDefault:"5"`

	// WatcherPolling lists camera folders instead of asking the kernel, for network mounts.
	WatcherPolling         flag    `env:"FILE_WATCHER_POLLING" envDefault:"false"`
	WatcherPollingInterval seconds `env:"FILE_WATCHER_POLLING_INTERVAL" envDefault:"1.0"`
	// DedupeTTL is how long the same bytes from the same camera count as a duplicate.
	DedupeTTL seconds `env:"DEDUPE_TTL_SECONDS" envDefault:"300"`

	// SeverityLowMax, SeverityMediumMax and SeverityHighMax are the highest scores of their levels;
	// they must rise.
	SeverityLowMax    int `env:"SEVERITY_LOW_MAX" envDefault:"29"`
	SeverityMediumMax int `env:"SEVERITY_MEDIUM_MAX" envDefault:"59"`
	SeverityHighMax   int `env:"SEVERITY_HIGH_MAX" envDefault:"84"`

	// LogLevel is the least level printed, LogDBMinLevel the least level stored in the logs table.
	LogLevel      logLevel `env:"LOG_LEVEL" envDefault:"INFO"`
	LogDBMinLevel logLevel `env:"LOG_DB_MIN_LEVEL" envDefault:"WARNING"`
}

// loadConfig reads the settings from environment entries ("NAME=value") and returns all problems at
// once.
func loadConfig(environ []string) (Config, error) {
	vars := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		vars[name] = value
	}
	// An empty variable means the default, as container files write `NAME=${NAME:-}`.
	for name, value := range vars {
		if strings.TrimSpace(value) == "" {
			delete(vars, name)
		}
	}
	if _, set := vars["FOSCAM_BASE_PATH"]; !set && vars["CAMERA_ROOT"] != "" {
		vars["FOSCAM_BASE_PATH"] = vars["CAMERA_ROOT"]
	}
	var cfg Config
	var problems []error
	if err := env.ParseWithOptions(&cfg, env.Options{Environment: vars}); err != nil {
		problems = append(problems, parseProblems(err, vars)...)
	}
	cfg.fillDefaults()
	// A value that did not parse has its problem already; the rest is judged all the same.
	for _, problem := range cfg.problems() {
		if !slices.ContainsFunc(problems, func(p error) bool { return settingOf(p) == settingOf(problem) }) {
			problems = append(problems, problem)
		}
	}
	return cfg, errors.Join(problems...)
}

// settingOf is the name at the beginning of a problem.
func settingOf(problem error) string {
	name, _, _ := strings.Cut(problem.Error(), ":")
	return name
}

func (c *Config) fillDefaults() {
	if abs, err := filepath.Abs(c.DataDir); err == nil {
		c.DataDir = abs
	}
	for _, dir := range []struct {
		path *string
		name string
	}{{&c.CameraRoot, "cameras"}, {&c.ThumbnailsDir, "thumbnails"}, {&c.ClipsDir, "clips"}} {
		if *dir.path == "" {
			*dir.path = filepath.Join(c.DataDir, dir.name)
		} else if abs, err := filepath.Abs(*dir.path); err == nil {
			*dir.path = abs
		}
	}
	if c.AppVersion == "" {
		c.AppVersion = buildVersion()
	}
}

// makeDefaultFolders makes the camera folder below DATA_DIR. One that was named by a setting is
// never made: where it is missing, a disk is not mounted, and that must be seen.
func (c *Config) makeDefaultFolders() error {
	if c.CameraRoot != filepath.Join(c.DataDir, "cameras") {
		return nil
	}
	if err := os.MkdirAll(c.CameraRoot, 0o755); err != nil { //nolint:gosec // cameras upload as other users
		return fmt.Errorf("create the camera folder: %w", err)
	}
	return nil
}

// problems checks what a type alone cannot: bounds, combinations, and settings that could not be
// honoured.
func (c *Config) problems() []error {
	var found []error
	add := func(name, format string, args ...any) {
		found = append(found, fmt.Errorf(name+": "+format, args...))
	}
	positive := func(name string, value seconds, most time.Duration) {
		if time.Duration(value) <= 0 || time.Duration(value) > most {
			add(name, "must be above 0 and at most %g seconds", most.Seconds())
		}
	}
	whole := func(name string, value seconds) {
		d := time.Duration(value)
		if d < time.Second || d%time.Second != 0 || d > maxBatchTime {
			add(name, "must be a whole number of seconds from 1 to %d", int64(maxBatchTime/time.Second))
		}
	}
	if c.APIKeyEnabled && len(c.APIKeys) == 0 {
		add("API_KEYS", "API_KEY_ENABLED is true but there is no key; `hsi key new` makes one")
	}
	if c.APIKeyEnabled && c.PicturesWithoutKey {
		add("PICTURES_WITHOUT_KEY", "with API_KEY_ENABLED=true everything that shows pictures and events needs a key or a session; leave one of the two out")
	}
	for i, key := range c.APIKeys {
		if err := checkAPIKey(key); err != nil {
			add("API_KEYS", "key %d: %v", i+1, err)
		}
	}
	for _, host := range c.AllowedHosts {
		if !validHostName(host) && net.ParseIP(host) == nil {
			add("ALLOWED_HOSTS", "%q is not a host name without port", host)
		}
	}
	for _, origin := range c.CORSOrigins {
		if err := server.CheckOrigin(origin); err != nil {
			add("CORS_ORIGINS", "%q: %v", origin, err)
		}
	}
	c.DatabaseURL.check(&found, "DATABASE_URL", "postgres", "postgresql", "postgresql+asyncpg")
	c.RedisURL.check(&found, "REDIS_URL", "redis", "rediss", "unix")
	c.RTDETRURL.check(&found, "RTDETR_URL", "http", "https")
	c.NemotronURL.check(&found, "NEMOTRON_URL", "http", "https")
	if c.RetentionDays < 1 || c.RetentionDays > 365 {
		add("RETENTION_DAYS", "must be from 1 to 365")
	}
	whole("BATCH_WINDOW_SECONDS", c.BatchWindow)
	whole("BATCH_IDLE_TIMEOUT_SECONDS", c.BatchIdleTimeout)
	if !(c.DetectionConfidenceThreshold >= 0 && c.DetectionConfidenceThreshold <= 1) {
		add("DETECTION_CONFIDENCE_THRESHOLD", "must be from 0 to 1")
	}
	positive("RTDETR_READ_TIMEOUT", c.RTDETRReadTimeout, time.Hour)
	positive("NEMOTRON_READ_TIMEOUT", c.NemotronReadTimeout, time.Hour)
	positive("AI_CONNECT_TIMEOUT", c.AIConnectTimeout, time.Hour)
	positive("AI_HEALTH_TIMEOUT", c.AIHealthTimeout, time.Minute)
	if c.DetectionWorkers < 1 || c.DetectionWorkers > 32 {
		add("DETECTION_WORKERS", "must be from 1 to 32")
	}
	positive("GPU_POLL_INTERVAL_SECONDS", c.GPUPollInterval, time.Hour)
	positive("FILE_WATCHER_POLLING_INTERVAL", c.WatcherPollingInterval, time.Hour)
	if c.DedupeTTL < 0 || time.Duration(c.DedupeTTL) > 24*time.Hour {
		add("DEDUPE_TTL_SECONDS", "must be from 0 to 86400 seconds")
	}
	if err := c.severity().Validate(); err != nil {
		add("SEVERITY_LOW_MAX, SEVERITY_MEDIUM_MAX, SEVERITY_HIGH_MAX", "%v", err)
	}
	if net.ParseIP(c.APIHost) == nil && c.APIHost != "localhost" && !validHostName(c.APIHost) {
		add("API_HOST", "%q is neither an address nor a host name", c.APIHost)
	}
	return found
}

// maxBatchTime keeps the batch settings inside 32 bits, as the contract has them.
const maxBatchTime = (1<<31 - 1) * time.Second

func (c *Config) severity() store.SeverityThresholds {
	return store.SeverityThresholds{LowMax: c.SeverityLowMax, MediumMax: c.SeverityMediumMax, HighMax: c.SeverityHighMax}
}

// systemConfig is what the environment says about the settings that PATCH can change.
func (c *Config) systemConfig() store.SystemConfig {
	return store.SystemConfig{
		RetentionDays:                c.RetentionDays,
		BatchWindow:                  time.Duration(c.BatchWindow),
		BatchIdleTimeout:             time.Duration(c.BatchIdleTimeout),
		DetectionConfidenceThreshold: c.DetectionConfidenceThreshold,
	}
}

func (c *Config) listenAddress() string {
	return net.JoinHostPort(c.APIHost, strconv.Itoa(int(c.APIPort)))
}

// exposed says whether the server listens on more than this machine.
func (c *Config) exposed() bool {
	ip := net.ParseIP(c.APIHost)
	return c.APIHost != "localhost" && (ip == nil || !ip.IsLoopback())
}

// depsDirs are the places where unpacked packages may lie: the setting, else `.deps` beside the
// binary's folder.
func (c *Config) depsDirs() []string {
	if c.EmbeddedDepsDir != "" {
		return []string{c.EmbeddedDepsDir}
	}
	exe, err := os.Executable()
	if err != nil {
		return nil
	}
	dir := filepath.Join(filepath.Dir(filepath.Dir(exe)), ".deps")
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil
	}
	return []string{dir}
}

// parseProblems names the variable of each value that did not parse, never its text when it is a
// secret.
func parseProblems(err error, vars map[string]string) []error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return []error{err}
	}
	names := map[string]string{}
	if params, err := env.GetFieldParamsWithOptions(&Config{}, env.Options{Environment: vars}); err == nil {
		fields := configFields()
		for i, param := range params {
			if i < len(fields) {
				names[fields[i].Name] = param.Key
			}
		}
	}
	var found []error
	for _, one := range all.Errors {
		if parse, ok := errors.AsType[env.ParseError](one); ok {
			found = append(found, fmt.Errorf("%s: %w", names[parse.Name], rootCause(parse.Err)))
			continue
		}
		found = append(found, one)
	}
	slices.SortFunc(found, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return found
}

// rootCause drops strconv's own words, which repeat the value.
func rootCause(err error) error {
	if num, ok := errors.AsType[*strconv.NumError](err); ok {
		if errors.Is(num.Err, strconv.ErrRange) {
			return errors.New("is too large or too small a number")
		}
		if num.Func == "ParseFloat" {
			return errors.New("must be a number")
		}
		return errors.New("must be a whole number")
	}
	return err
}

func (l logLevel) slogLevel() slog.Level { return slog.Level(l) }
