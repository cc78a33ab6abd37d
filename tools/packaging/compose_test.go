package packaging

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/stretchr/testify/require"
)

// secretNames are what scripts/env.sh makes up.
var secretNames = []string{"POSTGRES_PASSWORD", "REDIS_PASSWORD", "NEMOTRON_API_KEY", "API_KEYS"}

// envScript runs the script that is in the project of an .env file. The shell is named, since a
// file that was just written is busy for as long as a process started meanwhile has inherited it.
func envScript(envFile string, arguments ...string) (output string, exit int) {
	script := filepath.Join(filepath.Dir(envFile), "scripts/env.sh")
	path := []string{"PATH=" + os.Getenv("PATH")}
	return try(path, "/bin/sh", append([]string{script}, arguments...)...)
}

// makeEnvFile runs scripts/env.sh in a project folder of its own, since it works beside itself, and
// returns the file and the API key that it printed.
func makeEnvFile(tb testing.TB, options ...string) (file, key string) {
	tb.Helper()
	dir := tb.TempDir()
	require.NoError(tb, os.Mkdir(filepath.Join(dir, "scripts"), 0o755))
	for _, name := range []string{"scripts/env.sh", "docker-compose.yml", "docker-compose.gpu.yml"} {
		content := []byte(projectFile(tb, name))
		require.NoError(tb, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	file = filepath.Join(dir, ".env")
	printed, exit := envScript(file, options...)
	require.Zero(tb, exit, printed)
	line := regexp.MustCompile(`(?m)^API key \(give it to the client, it is not stored\): ([0-9a-f]{64})$`)
	found := line.FindStringSubmatch(printed)
	require.NotNil(tb, found, printed)
	return file, found[1]
}

// load reads the project as docker compose does in the folder of the .env file.
func load(tb testing.TB, envFile string) *types.Project {
	tb.Helper()
	dir := filepath.Dir(envFile)
	fromDir := func(options *cli.ProjectOptions) error { // as docker compose called in that folder
		for name := range strings.SplitSeq(options.Environment["COMPOSE_FILE"], ":") {
			if name != "" {
				options.ConfigPaths = append(options.ConfigPaths, filepath.Join(dir, name))
			}
		}
		return nil
	}
	options, err := cli.NewProjectOptions(nil, cli.WithWorkingDirectory(dir), cli.WithEnvFiles(),
		cli.WithDotEnv, fromDir, cli.WithDefaultConfigPath, cli.WithDefaultProfiles())
	require.NoError(tb, err)
	loaded, err := options.LoadProject(tb.Context())
	require.NoError(tb, err)
	return loaded
}

// Each variable that the files ask for is either made by the script, and its absence names the
// script, or optional with a default.
func TestCompose_VariablesAreMadeOrOptional(t *testing.T) {
	t.Parallel()
	envFile, _ := makeEnvFile(t, "--ai")
	content, err := os.ReadFile(envFile)
	require.NoError(t, err)
	made := map[string]bool{}
	for _, found := range regexp.MustCompile(`(?m)^([A-Z_]+)=`).FindAllSubmatch(content, -1) {
		made[string(found[1])] = true
	}
	used := map[string]bool{"COMPOSE_FILE": true, "COMPOSE_PROFILES": true}
	file := projectFile(t, "docker-compose.yml")
	required := map[string]bool{}
	for _, found := range regexp.MustCompile(`\$\{([A-Z_]+)([^}]*)`).FindAllStringSubmatch(file, -1) {
		used[found[1]] = true
		if !strings.HasPrefix(found[2], ":-") {
			require.Equal(t, ":?run scripts/env.sh", found[2], found[1])
			require.True(t, made[found[1]], "%s is required, and nothing makes it", found[1])
			required[found[1]] = true
		}
	}
	require.ElementsMatch(t, secretNames, slices.Collect(maps.Keys(required)))
	for name := range made {
		require.True(t, used[name], "%s is made, and nothing uses it", name)
	}
}

// The options of scripts/env.sh choose the services, and which of them get a graphics card.
func TestCompose_ServicesAndGPUs(t *testing.T) {
	t.Parallel()
	server := []string{"gpu", "utility"} // NVML is in utility
	for option, want := range map[string]map[string][]string{
		"":      {"hsi": nil, "postgres": nil, "redis": nil}, // starts without the NVIDIA runtime
		"--gpu": {"hsi": server, "postgres": nil, "redis": nil},
		"--ai": {
			"hsi": server, "postgres": nil, "redis": nil, "rtdetr": {"gpu"}, "nemotron": {"gpu"},
		},
	} {
		envFile, _ := makeEnvFile(t, strings.Fields(option)...)
		found := map[string][]string{}
		for name, service := range load(t, envFile).Services {
			found[name] = nil
			if service.Deploy == nil {
				continue
			}
			devices := service.Deploy.Resources.Reservations.Devices
			require.Len(t, devices, 1, name)
			require.Equal(t, "nvidia", devices[0].Driver, name)
			require.NotZero(t, devices[0].Count, name)
			found[name] = devices[0].Capabilities
		}
		require.Equal(t, want, found, option)
	}
}

// Nothing has rights that it does not need, logs end somewhere, and only the API is published, to
// this machine alone.
func TestCompose_Limits(t *testing.T) {
	t.Parallel()
	envFile, _ := makeEnvFile(t, "--ai")
	loaded := load(t, envFile)
	for name, service := range loaded.Services {
		require.Equal(t, []string{"ALL"}, service.CapDrop, name)
		require.Empty(t, service.CapAdd, name)
		require.Equal(t, []string{"no-new-privileges:true"}, service.SecurityOpt, name)
		require.False(t, service.Privileged, name)
		require.Empty(t, service.NetworkMode, name)
		require.Equal(t, "unless-stopped", service.Restart, name)
		require.Equal(t, "json-file", service.Logging.Driver, name)
		require.NotEmpty(t, service.Logging.Options["max-size"], name)
		require.NotEmpty(t, service.Logging.Options["max-file"], name)
		require.Equal(t, name != "rtdetr", service.ReadOnly, "%s: what it writes is not ours to know", name)
		if name != "hsi" {
			require.Empty(t, service.Ports, name)
		}
		for _, volume := range service.Volumes {
			require.NotContains(t, volume.Source, "docker.sock", name)
		}
	}
	hsi := loaded.Services["hsi"]
	require.Len(t, hsi.Ports, 1)
	require.Equal(t, "127.0.0.1", hsi.Ports[0].HostIP)
	require.Equal(t, "8000", hsi.Ports[0].Published)
	budget := 20 * time.Second // the server's own
	require.GreaterOrEqual(t, time.Duration(*hsi.StopGracePeriod), budget)
	require.Equal(t, "postgres", loaded.Services["postgres"].User)
	require.Equal(t, "redis", loaded.Services["redis"].User)
	require.True(t, loaded.Networks["data"].Internal)
	for _, name := range []string{"postgres", "redis"} {
		networks := slices.Collect(maps.Keys(loaded.Services[name].Networks))
		require.Equal(t, []string{"data"}, networks, name)
		require.Equal(t, "service_healthy", hsi.DependsOn[name].Condition)
	}
	require.Len(t, hsi.Networks, 2, "a container on internal networks alone publishes no port")
}

// Each volume is mounted where the image has a folder for it, and nothing of the image is undone.
func TestCompose_TakesTheImageAsItIs(t *testing.T) {
	t.Parallel()
	envFile, _ := makeEnvFile(t)
	loaded, image := load(t, envFile), stage(t, "")
	service, folders, env := loaded.Services["hsi"], foldersOf(image), environmentOf(t, image)
	var volumes []string
	for _, volume := range service.Volumes {
		require.Contains(t, folders, volume.Target, "the image has no folder for it")
		if volume.Type == types.VolumeTypeBind {
			require.Equal(t, lastValue(env, "FOSCAM_BASE_PATH"), volume.Target)
			require.Equal(t, filepath.Join(filepath.Dir(envFile), "data/cameras"), volume.Source)
			require.True(t, volume.ReadOnly)
			continue
		}
		require.Contains(t, loaded.Volumes, volume.Source)
		require.False(t, volume.ReadOnly, volume.Target)
		volumes = append(volumes, volume.Target)
	}
	require.ElementsMatch(t, only[*instructions.VolumeCommand](t, image).Volumes, volumes,
		"a volume without a name would not outlive its container")
	require.Len(t, service.Tmpfs, 1)
	require.True(t, strings.HasPrefix(service.Tmpfs[0], "/tmp:mode=1777,"), "all else is read-only")
	user := only[*instructions.UserCommand](t, image).User
	require.Equal(t, user, service.GroupAdd[0]+":"+service.GroupAdd[0], "no group but its own")
	port := strconv.FormatUint(uint64(service.Ports[0].Target), 10)
	require.Equal(t, lastValue(env, "API_PORT"), port)
	packages := only[*instructions.ArgCommand](t, image).Args[0].ValueString()
	require.Equal(t, unquoted(t, packages), *service.Build.Args["PACKAGES"])
	require.Empty(t, service.User)
	require.Empty(t, service.Entrypoint)
	require.Empty(t, service.Command)
	require.Nil(t, service.HealthCheck)
}

// Both sides of each connection have the same address, user and secret, and so has each check.
func TestCompose_ServicesFindEachOther(t *testing.T) {
	t.Parallel()
	envFile, _ := makeEnvFile(t, "--ai")
	loaded := load(t, envFile)
	value := func(service, name string) string {
		found := loaded.Services[service].Environment[name]
		require.NotNil(t, found, "%s: %s", service, name)
		return *found
	}
	address := func(name string) *url.URL {
		parsed, err := url.Parse(value("hsi", name))
		require.NoError(t, err)
		require.Contains(t, loaded.Services, parsed.Hostname(), name)
		require.NotEmpty(t, parsed.Port(), name)
		return parsed
	}
	check := func(service string) []string { return loaded.Services[service].HealthCheck.Test }

	database := address("DATABASE_URL")
	password, _ := database.User.Password()
	user, name := value("postgres", "POSTGRES_USER"), value("postgres", "POSTGRES_DB")
	require.Equal(t, user, database.User.Username())
	require.Equal(t, value("postgres", "POSTGRES_PASSWORD"), password)
	require.Equal(t, "/"+name, database.Path)
	require.Len(t, password, 64)
	require.Equal(t, []string{
		"CMD", "pg_isready", "--quiet", "--username=" + user, "--dbname=" + name, "--host=127.0.0.1",
	}, check("postgres"))

	redis := address("REDIS_URL")
	password, _ = redis.User.Password()
	command := loaded.Services["redis"].Command
	require.Equal(t, "redis-server", command[0])
	require.Equal(t, password, command[slices.Index(command, "--requirepass")+1])
	require.Equal(t, password, value("redis", "REDISCLI_AUTH"))
	require.Equal(t, []string{"CMD", "redis-cli", "-e", "ping"}, check("redis"))

	nemotron := address("NEMOTRON_URL")
	require.Equal(t, value("nemotron", "LLAMA_ARG_PORT"), nemotron.Port())
	require.Equal(t, value("nemotron", "LLAMA_API_KEY"), value("hsi", "NEMOTRON_API_KEY"))
	require.Contains(t, strings.Join(check("nemotron"), " "), ":"+nemotron.Port()+"/health")
	require.Equal(t, "/models", loaded.Services["nemotron"].Volumes[0].Target)
	require.True(t, loaded.Services["nemotron"].Volumes[0].ReadOnly)
	require.True(t, strings.HasPrefix(value("nemotron", "LLAMA_ARG_MODEL"), "/models/"))
	require.Equal(t, "8090", address("RTDETR_URL").Port())
}

// Every value of the .env file arrives where it belongs, in the names that the guide gives.
func TestCompose_SettingsArrive(t *testing.T) {
	t.Parallel()
	envFile, _ := makeEnvFile(t)
	made, err := os.ReadFile(envFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(envFile, append(made, "RETENTION_DAYS=14\nHSI_PORT=8123\n"+
		"HSI_BIND=0.0.0.0\nCAMERAS_READ_ONLY=false\nCAMERAS_DIR=/srv/cameras\nCAMERAS_GID=1234\n"+
		"HSI_VERSION=1.2.3\nHSI_PACKAGES=tzdata\nTZ=Europe/Berlin\nLOG_LEVEL=DEBUG\n"...), 0o600))
	service := load(t, envFile).Services["hsi"]
	require.Equal(t, "14", *service.Environment["RETENTION_DAYS"])
	require.Equal(t, "Europe/Berlin", *service.Environment["TZ"])
	require.Equal(t, "DEBUG", *service.Environment["LOG_LEVEL"])
	require.Equal(t, "8123", service.Ports[0].Published)
	require.Equal(t, "0.0.0.0", service.Ports[0].HostIP)
	require.Equal(t, []string{"1234"}, service.GroupAdd)
	require.Equal(t, "hsi:1.2.3", service.Image)
	cameras := slices.IndexFunc(service.Volumes, func(v types.ServiceVolumeConfig) bool {
		return v.Target == "/cameras"
	})
	require.Equal(t, "/srv/cameras", service.Volumes[cameras].Source)
	require.False(t, service.Volumes[cameras].ReadOnly)
	require.Equal(t, filepath.Dir(envFile), service.Build.Context)
	require.Equal(t, "Dockerfile", service.Build.Dockerfile)
	version, packages := "1.2.3", "tzdata"
	require.Equal(t, types.MappingWithEquals{"VERSION": &version, "PACKAGES": &packages}, service.Build.Args)
	for name, argument := range map[string]string{"build": "VERSION", "": "PACKAGES"} {
		asked := only[*instructions.ArgCommand](t, stage(t, name)).Args[0].Key
		require.Equal(t, argument, asked, "an argument that its stage does not ask for is lost")
	}
}

func TestEnvScript_KeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	script, err := os.Stat(filepath.Join(project, "scripts/env.sh"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o111), script.Mode()&0o111, "it is called by its name")
	envFile, key := makeEnvFile(t)
	info, err := os.Stat(envFile)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	content, err := os.ReadFile(envFile)
	require.NoError(t, err)
	require.NotContains(t, string(content), key, "only its hash is stored")
	values := map[string]bool{}
	for _, name := range secretNames {
		value := strings.TrimPrefix(lastValue(strings.Split(string(content), "\n"), name), "sha256:")
		require.Len(t, value, 64, name)
		require.False(t, values[value], "each has a value of its own")
		values[value] = true
	}
	cameras, err := os.Stat(filepath.Join(filepath.Dir(envFile), "data/cameras"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), cameras.Mode().Perm(), "other users upload into it")

	for _, arguments := range [][]string{nil, {"--ai"}, {"--nonsense"}, {"/nowhere/at/all/.env"}} {
		output, exit := envScript(envFile, arguments...)
		require.NotZero(t, exit, output)
		require.NotContains(t, output, "API key")
	}
	again, err := os.ReadFile(envFile)
	require.NoError(t, err)
	require.Equal(t, string(content), string(again))
	_, otherKey := makeEnvFile(t)
	require.NotEqual(t, key, otherKey)
}
