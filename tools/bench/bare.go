package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lib/pq"

	"hsi.home.arpa/gen"
)

// The bare programs: what the same machine does when a request costs nothing but itself.
const (
	bareBodies  = "bodies"  // answers each path with a ready-made body, which it reads from standard input
	bareFile    = "file"    // answers each path with one file, whose name it reads from standard input
	bareHistory = "history" // GET /?limit=N&since=T: the SQL and the encoding of the GPU history and nothing else
)

// bare runs one of them until standard input ends and prints its address first.
func bare(ctx context.Context, mode string) error {
	input := bufio.NewReader(os.Stdin)
	handler := http.NewServeMux()
	switch mode {
	case bareBodies:
		bodies := map[string][]byte{}
		if err := json.NewDecoder(input).Decode(&bodies); err != nil {
			return err
		}
		handler.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			body, found := bodies[r.URL.RequestURI()]
			if !found {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body)
		})
	case bareFile:
		var path string
		if err := json.NewDecoder(input).Decode(&path); err != nil {
			return err
		}
		handler.Handle("/", serveFile(path))
	case bareHistory:
		var url string
		if err := json.NewDecoder(input).Decode(&url); err != nil {
			return err
		}
		history, err := newHistoryHandler(ctx, url)
		if err != nil {
			return err
		}
		handler.Handle("/", history)
	default:
		return fmt.Errorf("no such program: %s", mode)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintln(os.Stdout, listener.Addr())
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, input)
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// newHistoryHandler reads and encodes like the server, with nothing around it.
func newHistoryHandler(ctx context.Context, url string) (http.Handler, error) {
	connector, err := pq.NewConnector(url)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxIdleConns(12)
	query, err := db.PrepareContext(ctx, `SELECT recorded_at, gpu_name, gpu_utilization, memory_used, memory_total, temperature, power_usage, inference_fps
		FROM gpu_stats WHERE recorded_at >= $1 ORDER BY recorded_at DESC, id DESC LIMIT $2`)
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		since, limit := r.URL.Query().Get("since"), r.URL.Query().Get("limit")
		n64, _ := strconv.ParseInt(limit, 10, 32)
		n := int32(n64)
		samples := make([]gen.GPUSample, 0, max(n, 0))
		rows, err := query.QueryContext(r.Context(), since, n)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var s gen.GPUSample
			if err := rows.Scan(&s.RecordedAt, &s.GPUName, &s.Utilization, &s.MemoryUsed, &s.MemoryTotal, &s.Temperature, &s.PowerUsage, &s.InferenceFPS); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			s.RecordedAt = s.RecordedAt.UTC()
			samples = append(samples, s)
		}
		if err := rows.Err(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		slices.Reverse(samples)
		body, err := json.Marshal(gen.GPUHistory{Samples: samples, Count: int32(len(samples)), Limit: n})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	}), nil
}

// bareServer is a bare program that runs beside the server.
type bareServer struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	baseURL string
}

func startBare(ctx context.Context, mode string, input any) (*bareServer, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), exe)
	cmd.Env = append(os.Environ(), bareMode+"="+mode)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(stdin).Encode(input); err != nil {
		return nil, err
	}
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the bare program %s did not start: %w", mode, err)
	}
	return &bareServer{cmd: cmd, stdin: stdin, baseURL: "http://" + strings.TrimSpace(address)}, nil
}

func (b *bareServer) close() {
	_ = b.stdin.Close()
	_ = b.cmd.Wait()
}
