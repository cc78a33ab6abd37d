package packaging

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// The stand-in for a container engine: this test binary, started again in namespaces of its own. As "engine" it is the first process
// there, makes the mounts, carries the network and starts commands. As "command" it gives up every right and becomes the command.
const (
	roleVariable    = "HSI_TEST_CONTAINER_ROLE"
	planVariable    = "HSI_TEST_CONTAINER_PLAN"
	commandVariable = "HSI_TEST_CONTAINER_COMMAND"
)

// plan is how a container is set up.
type plan struct {
	Root     string
	UID, GID int
	Groups   []int
	Env      []string
	Dir      string
	Mounts   []mount
	// Services maps "name:port" to a socket; the name leads to this container's own loopback, and from there to the socket.
	Services map[string]string
	// API is a socket that leads to the program's port.
	API string
	// Report is where the output of command n goes, with n added.
	Report string
}

// mount is a folder of the machine in the container, or a RAM disk when Source is empty.
type mount struct {
	Source, Target string
	ReadOnly       bool
	Options        string
}

// request starts a command or sends it a signal; answer tells that it ended.
type request struct {
	Number  int
	Command []string
	Output  string
	Signal  int
}

type answer struct {
	Number, Exit int
}

// mayIsolate tells whether this process may make namespaces and mounts.
func mayIsolate() bool {
	if os.Geteuid() != 0 || os.Getenv("HSI_TEST_WITHOUT_NAMESPACES") != "" {
		return false
	}
	probe := exec.Command("/bin/true")
	probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID}
	return probe.Run() == nil
}

func playRole(role string) int {
	var err error
	switch role {
	case "engine":
		err = engine()
	case "command":
		err = becomeCommand()
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
	return 125 // as docker run does when the engine itself failed
}

func readPlan() (p plan, err error) {
	raw, err := os.ReadFile(os.Getenv(planVariable))
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(raw, &p)
}

// engine sets the container up and then carries out requests until its input ends.
func engine() error {
	p, err := readPlan()
	if err != nil {
		return err
	}
	if err := errors.Join(loopbackUp(), p.names()); err != nil {
		return err
	}
	if err := p.mount(); err != nil {
		return err
	}
	if err := p.network(); err != nil {
		return err
	}
	commands := map[int]*exec.Cmd{}
	var writing sync.Mutex
	output, input := json.NewEncoder(os.Stdout), json.NewDecoder(os.Stdin)
	report := func(a answer) {
		writing.Lock()
		defer writing.Unlock()
		_ = output.Encode(a) // the test is gone when this fails
	}
	for {
		var r request
		if err := input.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if r.Signal != 0 {
			_ = commands[r.Number].Process.Signal(syscall.Signal(r.Signal))
			continue
		}
		cmd, err := startCommand(r)
		if err != nil {
			return err
		}
		commands[r.Number] = cmd
		go func() {
			_ = cmd.Wait()
			report(answer{Number: r.Number, Exit: cmd.ProcessState.ExitCode()})
		}()
	}
}

func startCommand(r request) (*exec.Cmd, error) {
	output, err := os.Create(r.Output)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	raw, err := json.Marshal(r.Command)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = []string{roleVariable + "=command", planVariable + "=" + os.Getenv(planVariable), commandVariable + "=" + string(raw)}
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, cmd.Start()
}

// loopbackUp switches the one network interface of the namespace on.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	interfaceRequest, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	interfaceRequest.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, interfaceRequest)
}

// names writes the files that an engine gives each container.
func (p *plan) names() error {
	hosts := "127.0.0.1 localhost\n"
	for service := range p.Services {
		name, _, _ := strings.Cut(service, ":")
		hosts += "127.0.0.1 " + name + "\n"
	}
	return errors.Join(
		os.WriteFile(filepath.Join(p.Root, "etc/hosts"), []byte(hosts), 0o644),
		os.WriteFile(filepath.Join(p.Root, "etc/resolv.conf"), nil, 0o644),
	)
}

// mount puts the volumes into the tree and makes everything else in it read-only.
func (p *plan) mount() error {
	type call struct {
		source, target, kind string
		flags                uintptr
		options              string
	}
	calls := []call{{"", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""}, {p.Root, p.Root, "", unix.MS_BIND | unix.MS_REC, ""}}
	for _, m := range p.Mounts {
		target := filepath.Join(p.Root, m.Target)
		if m.Source == "" {
			calls = append(calls, call{"tmpfs", target, "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, m.Options})
			continue
		}
		calls = append(calls, call{m.Source, target, "", unix.MS_BIND, ""})
		if m.ReadOnly {
			calls = append(calls, call{"", target, "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY, ""})
		}
	}
	for _, device := range []string{"null", "zero", "random", "urandom"} {
		target := filepath.Join(p.Root, "dev", device)
		if err := os.WriteFile(target, nil, 0o666); err != nil {
			return err
		}
		calls = append(calls, call{"/dev/" + device, target, "", unix.MS_BIND, ""})
	}
	calls = append(calls,
		call{"proc", filepath.Join(p.Root, "proc"), "proc", unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV, ""},
		call{"", p.Root, "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY, ""})
	for _, c := range calls {
		if err := unix.Mount(c.source, c.target, c.kind, c.flags, c.options); err != nil {
			return fmt.Errorf("mount %+v: %w", c, err)
		}
	}
	return nil
}

// network connects the services and the published port.
func (p *plan) network() error {
	for service, socket := range p.Services {
		_, port, _ := strings.Cut(service, ":")
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			return err
		}
		go new(relay).run(listener, "unix", socket)
	}
	listener, err := net.Listen("unix", p.API)
	if err != nil {
		return err
	}
	go new(relay).run(listener, "tcp", "127.0.0.1:8000")
	return nil
}

// becomeCommand enters the tree, gives up every right, and becomes the command.
func becomeCommand() error {
	runtime.LockOSThread() // rights belong to threads, and this one becomes the command
	p, err := readPlan()
	if err != nil {
		return err
	}
	var command []string
	if err := json.Unmarshal([]byte(os.Getenv(commandVariable)), &command); err != nil {
		return err
	}
	if err := unix.Chroot(p.Root); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := unix.Chdir(p.Dir); err != nil {
		return fmt.Errorf("chdir: %w", err)
	}
	// cap_drop: ALL. What is left ends with the change of user.
	for capability := uintptr(0); unix.Prctl(unix.PR_CAPBSET_READ, capability, 0, 0, 0) == nil; capability++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", capability, err)
		}
	}
	if err := errors.Join(unix.Setgroups(p.Groups), unix.Setresgid(p.GID, p.GID, p.GID), unix.Setresuid(p.UID, p.UID, p.UID)); err != nil {
		return fmt.Errorf("change user: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	path := command[0]
	if !strings.Contains(path, "/") {
		for dir := range strings.SplitSeq(lastValue(p.Env, "PATH"), ":") {
			if _, err := os.Stat(filepath.Join(dir, command[0])); err == nil {
				path = filepath.Join(dir, command[0])
				break
			}
		}
	}
	return fmt.Errorf("exec %s: %w", strconv.Quote(path), unix.Exec(path, command, p.Env))
}

// relay carries connections to another address.
type relay struct{ connections sync.WaitGroup }

// run accepts connections until the listener is closed.
func (r *relay) run(listener net.Listener, network, address string) {
	for {
		incoming, err := listener.Accept()
		if err != nil {
			return
		}
		r.connections.Go(func() {
			defer incoming.Close()
			outgoing, err := net.Dial(network, address)
			if err != nil {
				return
			}
			defer outgoing.Close()
			var both sync.WaitGroup
			for _, pair := range [2][2]net.Conn{{incoming, outgoing}, {outgoing, incoming}} {
				both.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					if half, ok := pair[0].(interface{ CloseWrite() error }); ok {
						_ = half.CloseWrite()
					}
				})
			}
			both.Wait()
		})
	}
}

func (r *relay) wait() { r.connections.Wait() }
