package packaging

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // sets the database up as the image of PostgreSQL does
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/demo"
)

// enginePath is what an engine sets when an image names no PATH.
const enginePath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// camerasGroup owns the camera folder of the test; others may not even look into it.
const camerasGroup = 10077

// stack is the Compose project with real databases beside the program.
type stack struct {
	*container
	project *types.Project
	key     string
	cameras string
}

// newStack sets everything up for the hsi service; extra lines are added to .env.
func newStack(t *testing.T, options []string, extra ...string) *stack {
	t.Helper()
	envFile, key := makeEnvFile(t, options...)
	cameras := filepath.Join(openDir(t), "cameras")
	require.NoError(t, os.Mkdir(cameras, 0o750))
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(cameras, 0, camerasGroup))
	}
	file, err := os.OpenFile(envFile, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	for _, line := range append(extra, "CAMERAS_DIR="+cameras, "CAMERAS_GID="+strconv.Itoa(camerasGroup)) {
		_, err := file.WriteString(line + "\n")
		require.NoError(t, err)
	}
	require.NoError(t, file.Close())
	s := &stack{project: mustLoad(t, envFile), key: key, cameras: cameras}
	service := s.project.Services["hsi"]
	img := layOut(t)
	services := map[string]string{}
	for name, start := range map[string]func(testing.TB, types.ServiceConfig) (port, address string){
		"postgres": startPostgres, "redis": startRedis, "rtdetr": startRTDETR, "nemotron": startNemotron,
	} {
		if other, ok := s.project.Services[name]; ok {
			port, address := start(t, other)
			services[name+":"+port] = address
		}
	}
	s.container = newContainer(t, img, slices.Concat([]string{enginePath, "HOME=/"}, img.env, environment(service)), groups(t, service), s.mounts(t, img, service), services)
	return s
}

func groups(t *testing.T, service types.ServiceConfig) []int {
	t.Helper()
	var found []int
	for _, group := range service.GroupAdd {
		number, err := strconv.Atoi(group)
		require.NoError(t, err)
		found = append(found, number)
	}
	return found
}

// mounts are the service's volumes as an engine makes them.
func (s *stack) mounts(t *testing.T, img *image, service types.ServiceConfig) []mount {
	t.Helper()
	var found []mount
	for _, volume := range service.Volumes {
		require.DirExists(t, img.path(volume.Target), "the image has no folder for the volume")
		if volume.Type == types.VolumeTypeBind {
			found = append(found, mount{Source: volume.Source, Target: volume.Target, ReadOnly: volume.ReadOnly})
			continue
		}
		require.Contains(t, s.project.Volumes, volume.Source)
		require.Contains(t, img.volumes, volume.Target)
		found = append(found, img.newVolumes(t, volume.Target)...)
	}
	for _, tmpfs := range service.Tmpfs {
		target, options, _ := strings.Cut(tmpfs, ":")
		found = append(found, mount{Target: target, Options: options})
	}
	require.True(t, service.ReadOnly, "the stand-in makes the rest read-only")
	return found
}

// startPostgres makes what the image of PostgreSQL makes of its variables, and asks for the password from then on.
func startPostgres(tb testing.TB, service types.ServiceConfig) (port, address string) {
	tb.Helper()
	server := embeddedtest.NewPostgres(tb)
	db := sqlx.MustConnect("postgres", server.URL())
	defer db.Close()
	value := func(name string) string { return *service.Environment[name] }
	var socketDir, version string
	require.NoError(tb, db.Get(&socketDir, "SHOW unix_socket_directories"))
	require.NoError(tb, db.Get(&version, "SHOW server_version"))
	require.Equal(tb, "hsi", value("POSTGRES_USER"), "the test server's own superuser")
	for _, statement := range []string{
		"ALTER ROLE " + value("POSTGRES_USER") + " PASSWORD '" + value("POSTGRES_PASSWORD") + "'",
		"CREATE DATABASE " + value("POSTGRES_DB"),
		"DO $$ BEGIN EXECUTE format('COPY (SELECT ''local all all scram-sha-256'') TO %L', current_setting('hba_file')); END $$",
		"SELECT pg_reload_conf()",
	} {
		_, err := db.Exec(statement)
		require.NoError(tb, err)
	}
	eventually(tb, "PostgreSQL asks for the password", func() bool {
		without, err := sqlx.Connect("postgres", server.URL())
		if err == nil {
			_ = without.Close()
		}
		return err != nil
	})
	tb.Logf("PostgreSQL %s in the place of %s", version, service.Image)
	runHealthcheck(tb, service, func(argument string) string {
		return strings.ReplaceAll(argument, "--host=127.0.0.1", "--host="+socketDir)
	})
	return "5432", "unix:" + filepath.Join(socketDir, ".s.PGSQL.5432")
}

// startRedis gives a real server what the service's command line says.
func startRedis(tb testing.TB, service types.ServiceConfig) (port, address string) {
	tb.Helper()
	server := embeddedtest.NewRedis(tb)
	socket := strings.TrimPrefix(server.URL(), "unix://")
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{socket}, DialCtxFn: dialUnix, ForceSingleClient: true, DisableCache: true,
	})
	require.NoError(tb, err)
	defer client.Close()
	require.Equal(tb, "redis-server", service.Command[0])
	require.Len(tb, service.Command[1:], 2*(len(service.Command)/2))
	for pair := range slices.Chunk(service.Command[1:], 2) {
		require.NoError(tb, client.Do(tb.Context(), client.B().ConfigSet().ParameterValue().ParameterValue(strings.TrimPrefix(pair[0], "--"), pair[1]).Build()).Error(), pair[0])
	}
	runHealthcheck(tb, service, func(argument string) string { return argument }, "-s", socket)
	return "6379", "unix:" + socket
}

// runHealthcheck runs the service's own check with the machine's tools; more arguments tell where the server is.
func runHealthcheck(tb testing.TB, service types.ServiceConfig, moved func(string) string, more ...string) {
	tb.Helper()
	require.Equal(tb, "CMD", service.HealthCheck.Test[0])
	command := []string(service.HealthCheck.Test[1:])
	tool, env := findTool(tb, command[0])
	arguments := slices.Clone(more)
	for _, argument := range command[1:] {
		arguments = append(arguments, moved(argument))
	}
	run(tb, "/", slices.Concat(env, environment(service)), tool, arguments...)
}

func startRTDETR(tb testing.TB, _ types.ServiceConfig) (port, address string) {
	tb.Helper()
	return "8090", "tcp:" + strings.TrimPrefix(aitest.NewRTDETR(tb).URL(), "http://")
}

func startNemotron(tb testing.TB, _ types.ServiceConfig) (port, address string) {
	tb.Helper()
	return "8091", "tcp:" + strings.TrimPrefix(aitest.NewNemotron(tb).URL(), "http://")
}

// ask sends a request to the published port.
func (s *stack) ask(method, path, key, body string) (int, []byte) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, s.apiURL+path, bytes.NewReader([]byte(body)))
	require.NoError(s.tb, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		request.Header.Set("X-API-Key", key)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(s.tb, err)
	return response.StatusCode, answer
}

// up starts the image's command and waits until the engine would call it healthy and an orchestrator ready.
func (s *stack) up() *process {
	s.tb.Helper()
	server := s.start(s.image.command...)
	s.tb.Cleanup(func() {
		if s.tb.Failed() {
			s.tb.Logf("the server: %s", server.log())
		}
	})
	eventually(s.tb, "healthy", func() bool {
		_, exit := s.exec(s.image.health...)
		return exit == 0
	})
	eventually(s.tb, "ready", func() bool {
		_, exit := s.exec("hsi", "probe", "--ready")
		return exit == 0
	})
	return server
}

// upload writes the demo's pictures as an upload server does, until the test ends: readable for the cameras' group alone.
func (s *stack) upload(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	folder := filepath.Join(s.cameras, demo.CameraName)
	require.NoError(t, os.Mkdir(folder, 0o750))
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(folder, 0, camerasGroup))
		require.NoError(t, os.Chmod(folder, 0o750|os.ModeSetgid)) // what is written there gets the group too
	}
	go func() {
		done <- demo.Run(ctx, demo.Options{Root: s.cameras, Seed: 1, Interval: 500 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	}()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

func (s *stack) events(t *testing.T) int64 {
	t.Helper()
	var stats struct {
		TotalEvents int64 `json:"total_events"`
	}
	status, body := s.ask(http.MethodGet, "/api/system/stats", "", "")
	require.Equal(t, http.StatusOK, status, "%s", body)
	require.NoError(t, json.Unmarshal(body, &stats))
	return stats.TotalEvents
}

// The whole of `docker compose up`: the image's command with the environment, volumes, user and limits of the service, on databases
// with the passwords of .env; pictures become events, the printed key opens the writes, and a restart finds everything again.
func TestStack_RunsAsComposeWouldRunIt(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil, "BATCH_WINDOW_SECONDS=3", "BATCH_IDLE_TIMEOUT_SECONDS=1", "TZ=America/St_Johns")
	_, exit := s.exec(s.image.health...)
	require.NotZero(t, exit, "nothing runs yet")
	server := s.up()
	s.upload(t)
	eventually(t, "an event", func() bool { return s.events(t) > 0 })
	s.requireConfined(t)

	thumbnails, err := filepath.Glob(s.source("/media") + "/thumbnails/*/*")
	require.NoError(t, err)
	require.NotEmpty(t, thumbnails)
	status, _ := s.ask(http.MethodPatch, "/api/system/config", "", `{"retention_days":7}`)
	require.Equal(t, http.StatusUnauthorized, status)
	status, body := s.ask(http.MethodPatch, "/api/system/config", s.key, `{"retention_days":7}`)
	require.Equal(t, http.StatusOK, status, "%s", body)
	status, body = s.ask(http.MethodGet, "/", "", "")
	require.Contains(t, []int{http.StatusOK, http.StatusFound}, status, "%s", body)

	// What the operations guide lets people run in the container.
	for _, command := range [][]string{{"hsi", "events"}, {"hsi", "dead-letters", "list"}, {"hsi", "check"}, {"hsi", "version"}, {"hsi", "key", "new"}} {
		output, exit := s.exec(command...)
		require.Zero(t, exit, "%q: %s", command, output)
	}
	events := s.events(t)
	begun := time.Now()
	require.Zero(t, server.stop(), server.log())
	t.Logf("stopped in %v; Compose grants %v", time.Since(begun), *s.project.Services["hsi"].StopGracePeriod)
	require.Less(t, time.Since(begun), time.Duration(*s.project.Services["hsi"].StopGracePeriod))

	server = s.up()
	require.GreaterOrEqual(t, s.events(t), events)
	_, body = s.ask(http.MethodGet, "/api/system/config", "", "")
	require.Contains(t, string(body), `"retention_days":7`)
	require.Zero(t, server.stop(), server.log())
	require.NotContains(t, server.log(), s.key)
}

// requireConfined looks at the running program from inside its own container.
func (s *stack) requireConfined(t *testing.T) {
	t.Helper()
	if s.engine == nil {
		t.Log("without namespaces there is no read-only tree and no dropped right to look at")
		return
	}
	status, mounts := s.peek(t)
	for _, want := range []string{
		"Uid:\t10001\t10001\t10001\t10001", "Gid:\t10001\t10001\t10001\t10001", "Groups:\t" + strconv.Itoa(camerasGroup), "NoNewPrivs:\t1",
		"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000",
	} {
		require.Contains(t, status, want)
	}
	for target, options := range map[string]string{"/": "ro,", "/cameras": "ro,", "/data": "rw,", "/media": "rw,", "/tmp": "rw,"} {
		require.Regexp(t, `(?m)^\S+ \S+ \S+ \S+ `+target+` `+options, mounts)
	}
}

// The profile ai: the settings of .env reach RT-DETR and llama.cpp under their names in Compose, with the key.
func TestStack_ProfileAI(t *testing.T) {
	t.Parallel()
	s := newStack(t, []string{"--ai"}, "BATCH_WINDOW_SECONDS=3", "BATCH_IDLE_TIMEOUT_SECONDS=1")
	server := s.up()
	s.upload(t)
	eventually(t, "an event", func() bool { return s.events(t) > 0 })
	status, body := s.ask(http.MethodGet, "/api/system/health", "", "")
	require.Equal(t, http.StatusOK, status, "%s", body)
	require.Contains(t, string(body), `"rtdetr":"healthy"`)
	output, exit := s.exec("hsi", "events")
	require.Zero(t, exit, output)
	require.Contains(t, output, "nemotron")
	require.Zero(t, server.stop(), server.log())
}

// Every setting is one of the image's, or Compose passes it on; and what is printed of the secrets is nothing.
func TestStack_ConfigShowsEverySettingAndNoSecret(t *testing.T) {
	t.Parallel()
	s := newStack(t, nil)
	output, exit := s.exec("hsi", "config")
	require.Zero(t, exit, output)
	given := map[string]bool{"EMBEDDED_DEPS_DIR": true} // there is nothing embedded in the image
	for _, entry := range s.plan.Env {
		name, _, _ := strings.Cut(entry, "=")
		given[name] = true
	}
	for line := range strings.Lines(output) {
		name := strings.Fields(line)[0]
		require.True(t, given[name], "%s is neither the image's nor passed on by Compose", name)
		delete(given, name)
	}
	for _, other := range []string{"PATH", "HOME", "TZ"} {
		delete(given, other)
	}
	require.Empty(t, given, "these are no settings")
	for _, name := range secretNames {
		secret := s.project.Environment[name]
		require.NotEmpty(t, secret)
		require.NotContains(t, output, secret, name)
	}
}

// The image alone, without settings, is closed: it listens to the network, so it wants a key first.
func TestImage_WantsAKey(t *testing.T) {
	t.Parallel()
	img := layOut(t)
	c := newContainer(t, img, slices.Concat([]string{enginePath}, img.env), nil, img.newVolumes(t, img.volumes...), nil)
	output, exit := c.exec(img.command...)
	require.Equal(t, 2, exit, output)
	require.Contains(t, output, "API_KEYS")
	require.Contains(t, output, "hsi key new")
}
