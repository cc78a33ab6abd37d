package packaging

import (
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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

// makeEnvFile runs scripts/env.sh as its user does and returns the file and the API key that it printed.
func makeEnvFile(tb testing.TB, options ...string) (file, key string) {
	tb.Helper()
	// The script works beside itself, so it gets a project folder of its own.
	dir := filepath.Join(openDir(tb), "project")
	require.NoError(tb, os.MkdirAll(filepath.Join(dir, "scripts"), 0o755))
	for _, name := range []string{"scripts/env.sh", "docker-compose.yml", "docker-compose.gpu.yml"} {
		require.NoError(tb, os.WriteFile(filepath.Join(dir, name), []byte(projectFile(tb, name)), 0o755))
	}
	printed := run(tb, "/", []string{"PATH=" + os.Getenv("PATH")}, filepath.Join(dir, "scripts/env.sh"), options...)
	found := regexp.MustCompile(`(?m)^API key \(give it to the client, it is not stored\): ([0-9a-f]{64})$`).FindStringSubmatch(printed)
	require.NotNil(tb, found, printed)
	return filepath.Join(dir, ".env"), found[1]
}

// load reads the project as docker compose does in the folder of the .env file.
func load(tb testing.TB, envFile string) (*types.Project, error) {
	tb.Helper()
	dir := filepath.Dir(envFile)
	fromDir := func(options *cli.ProjectOptions) error { // COMPOSE_FILE is read from the folder that docker compose is called in
		for name := range strings.SplitSeq(options.Environment["COMPOSE_FILE"], ":") {
			if name != "" {
				options.ConfigPaths = append(options.ConfigPaths, filepath.Join(dir, name))
			}
		}
		return nil
	}
	options, err := cli.NewProjectOptions(nil,
		cli.WithWorkingDirectory(dir), cli.WithEnvFiles(), cli.WithDotEnv, fromDir, cli.WithDefaultConfigPath, cli.WithDefaultProfiles())
	require.NoError(tb, err)
	return options.LoadProject(tb.Context())
}

func mustLoad(tb testing.TB, envFile string) *types.Project {
	tb.Helper()
	loaded, err := load(tb, envFile)
	require.NoError(tb, err)
	return loaded
}

// environment is a service's environment as the engine would pass it.
func environment(service types.ServiceConfig) []string {
	var env []string
	for name, value := range service.Environment {
		if value != nil {
			env = append(env, name+"="+*value)
		}
	}
	slices.Sort(env)
	return env
}

func TestCompose_WithoutSecretsSaysWhatToRun(t *testing.T) {
	t.Parallel()
	envFile, _ := makeEnvFile(t)
	complete, err := os.ReadFile(envFile)
	require.NoError(t, err)
	for _, name := range secretNames {
		without := regexp.MustCompile(`(?m)^`+name+`=.*$`).ReplaceAll(complete, nil)
		require.NotEqual(t, len(complete), len(without), name)
		require.NoError(t, os.WriteFile(envFile, without, 0o600))
		_, err := load(t, envFile)
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, "run scripts/env.sh")
	}
}

// Each variable that the files ask for is either made by the script, or optional with a default.
func TestCompose_VariablesAreMadeOrOptional(t *testing.T) {
	t.Parallel()
	envFile, _ := makeEnvFile(t, "--ai")
	content, err := os.ReadFile(envFile)
	require.NoError(t, err)
	made := map[string]bool{}
	for _, found := range regexp.MustCompile(`(?m)^([A-Z_]+)=`).FindAllStringSubmatch(string(content), -1) {
		made[found[1]] = true
	}
	used := map[string]bool{"COMPOSE_FILE": true, "COMPOSE_PROFILES": true}
	for _, found := range regexp.MustCompile(`\$\{([A-Z_]+)(:[-?])?`).FindAllStringSubmatch(projectFile(t, "docker-compose.yml"), -1) {
		used[found[1]] = true
		switch found[2] {
		case ":?":
			require.True(t, made[found[1]], "%s is required, and nothing makes it", found[1])
		case ":-":
		default:
			require.Fail(t, "neither required nor with a default: "+found[1])
		}
	}
	for name := range made {
		require.True(t, used[name], "%s is made, and nothing uses it", name)
	}
}

func TestCompose_Profiles(t *testing.T) {
	t.Parallel()
	names := func(options ...string) []string {
		envFile, _ := makeEnvFile(t, options...)
		return slices.Sorted(maps.Keys(mustLoad(t, envFile).Services))
	}
	require.Equal(t, []string{"hsi", "postgres", "redis"}, names())
	require.Equal(t, []string{"hsi", "postgres", "redis"}, names("--gpu"))
	require.Equal(t, []string{"hsi", "nemotron", "postgres", "redis", "rtdetr"}, names("--ai"))
}

func TestCompose_GPUs(t *testing.T) {
	t.Parallel()
	capabilities := func(project *types.Project, name string) []string {
		service := project.Services[name]
		if service.Deploy == nil || service.Deploy.Resources.Reservations == nil {
			return nil
		}
		devices := service.Deploy.Resources.Reservations.Devices
		require.Len(t, devices, 1, name)
		require.Equal(t, "nvidia", devices[0].Driver, name)
		require.NotZero(t, devices[0].Count, name)
		return devices[0].Capabilities
	}
	plain, _ := makeEnvFile(t)
	require.Nil(t, capabilities(mustLoad(t, plain), "hsi"), "a machine without the NVIDIA runtime could not start it")
	for _, option := range []string{"--gpu", "--ai"} {
		envFile, _ := makeEnvFile(t, option)
		require.Equal(t, []string{"gpu", "utility"}, capabilities(mustLoad(t, envFile), "hsi"), "NVML is in utility")
	}
	envFile, _ := makeEnvFile(t, "--ai")
	loaded := mustLoad(t, envFile)
	require.Equal(t, []string{"gpu"}, capabilities(loaded, "rtdetr"))
	require.Equal(t, []string{"gpu"}, capabilities(loaded, "nemotron"))
}

// Nothing has rights that it does not need, logs end somewhere, and only the API is published, to this machine alone.
func TestCompose_Limits(t *testing.T) {
	t.Parallel()
	envFile, _ := makeEnvFile(t, "--ai")
	loaded := mustLoad(t, envFile)
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
		require.Equal(t, name != "rtdetr", service.ReadOnly, "%s: what that image writes is not ours to know", name)
		if name == "hsi" {
			require.Len(t, service.Ports, 1)
			require.Equal(t, "127.0.0.1", service.Ports[0].HostIP)
			require.Equal(t, "8000", service.Ports[0].Published)
		} else {
			require.Empty(t, service.Ports, name)
		}
		for _, volume := range service.Volumes {
			require.NotContains(t, volume.Source, "docker.sock", name)
		}
	}
	require.GreaterOrEqual(t, time.Duration(*loaded.Services["hsi"].StopGracePeriod), 20*time.Second, "the server's own budget")
	require.Equal(t, "postgres", loaded.Services["postgres"].User)
	require.Equal(t, "redis", loaded.Services["redis"].User)
	require.True(t, loaded.Networks["data"].Internal)
	for _, name := range []string{"postgres", "redis"} {
		require.Equal(t, []string{"data"}, slices.Collect(maps.Keys(loaded.Services[name].Networks)), name)
		require.Equal(t, "service_healthy", loaded.Services["hsi"].DependsOn[name].Condition)
		require.NotNil(t, loaded.Services[name].HealthCheck, name)
	}
	require.Len(t, loaded.Services["hsi"].Networks, 2, "a container on internal networks alone publishes no port")
}

// Both sides of each connection have the same address, user and secret.
func TestCompose_ServicesFindEachOther(t *testing.T) {
	t.Parallel()
	envFile, _ := makeEnvFile(t, "--ai")
	loaded := mustLoad(t, envFile)
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
	database := address("DATABASE_URL")
	password, _ := database.User.Password()
	require.Equal(t, value("postgres", "POSTGRES_USER"), database.User.Username())
	require.Equal(t, value("postgres", "POSTGRES_PASSWORD"), password)
	require.Equal(t, "/"+value("postgres", "POSTGRES_DB"), database.Path)
	require.Len(t, password, 64)

	redis := address("REDIS_URL")
	password, _ = redis.User.Password()
	command := loaded.Services["redis"].Command
	require.Equal(t, password, command[slices.Index(command, "--requirepass")+1])
	require.Equal(t, password, value("redis", "REDISCLI_AUTH"))

	nemotron := address("NEMOTRON_URL")
	require.Equal(t, value("nemotron", "LLAMA_ARG_PORT"), nemotron.Port())
	require.Equal(t, value("nemotron", "LLAMA_API_KEY"), value("hsi", "NEMOTRON_API_KEY"))
	require.Contains(t, strings.Join(loaded.Services["nemotron"].HealthCheck.Test, " "), ":"+nemotron.Port()+"/health")
	require.Equal(t, "/models", loaded.Services["nemotron"].Volumes[0].Target)
	require.True(t, loaded.Services["nemotron"].Volumes[0].ReadOnly)
	require.True(t, strings.HasPrefix(value("nemotron", "LLAMA_ARG_MODEL"), "/models/"))
	require.Equal(t, "8090", address("RTDETR_URL").Port())
}

// Every value of the .env file arrives where it belongs, in the names that README gives.
func TestCompose_SettingsArrive(t *testing.T) {
	t.Parallel()
	envFile, _ := makeEnvFile(t)
	file, err := os.OpenFile(envFile, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteString("RETENTION_DAYS=14\nHSI_PORT=8123\nHSI_BIND=0.0.0.0\nCAMERAS_READ_ONLY=false\nCAMERAS_DIR=/srv/cameras\nCAMERAS_GID=1234\n" +
		"HSI_VERSION=1.2.3\nTZ=Europe/Berlin\nLOG_LEVEL=DEBUG\n")
	require.NoError(t, err)
	require.NoError(t, file.Close())
	service := mustLoad(t, envFile).Services["hsi"]
	require.Equal(t, "14", *service.Environment["RETENTION_DAYS"])
	require.Equal(t, "Europe/Berlin", *service.Environment["TZ"])
	require.Equal(t, "DEBUG", *service.Environment["LOG_LEVEL"])
	require.Equal(t, "8123", service.Ports[0].Published)
	require.Equal(t, "0.0.0.0", service.Ports[0].HostIP)
	require.Equal(t, []string{"1234"}, service.GroupAdd)
	require.Equal(t, "1.2.3", *service.Build.Args["VERSION"])
	require.Equal(t, "hsi:1.2.3", service.Image)
	for _, built := range []instructions.Stage{stage(t, "build"), stage(t, "")} { // an argument that no stage asks for is lost
		for _, command := range built.Commands {
			if arg, ok := command.(*instructions.ArgCommand); ok {
				require.Contains(t, service.Build.Args, arg.Args[0].Key)
				delete(service.Build.Args, arg.Args[0].Key)
			}
		}
	}
	require.Empty(t, service.Build.Args)
	cameras := service.Volumes[slices.IndexFunc(service.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == "/cameras" })]
	require.Equal(t, "/srv/cameras", cameras.Source)
	require.False(t, cameras.ReadOnly)
	require.Equal(t, filepath.Dir(envFile), service.Build.Context)
	require.Equal(t, "Dockerfile", service.Build.Dockerfile)
}

func TestEnvScript_KeepsWhatIsThere(t *testing.T) {
	t.Parallel()
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
	require.Equal(t, os.FileMode(0o755), cameras.Mode().Perm(), "cameras and their upload server are other users")

	for _, arguments := range [][]string{nil, {"--ai"}, {"--nonsense"}, {"/nowhere/at/all/.env"}} {
		output, exit := try(filepath.Join(filepath.Dir(envFile), "scripts/env.sh"), arguments...)
		require.NotZero(t, exit, output)
		require.NotContains(t, output, "API key")
	}
	again, err := os.ReadFile(envFile)
	require.NoError(t, err)
	require.Equal(t, string(content), string(again))
	other, otherKey := makeEnvFile(t)
	second, err := os.ReadFile(other)
	require.NoError(t, err)
	require.NotEqual(t, string(content), string(second))
	require.NotEqual(t, key, otherKey)
}
