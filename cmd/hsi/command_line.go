package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/joho/godotenv"
	"github.com/spf13/cobra"
)

// runner is one command with its flags.
type runner interface {
	Run(ctx context.Context) error
}

// commandLine is the command line of the program.
func commandLine(options Options) *cobra.Command {
	root := choice("hsi", "Home Security Intelligence: camera pictures in, risk-scored events and the System API out.",
		leaf("serve", "Run the server", serveCommand{options}),
		probeLine(), configLine(), choice("key", "API keys", leaf("new", "Print a new random API key and the hash to configure", newKeyCommand{})),
		eventsLine(), deadLettersLine(), checkLine(), demoLine(),
		leaf("version", "Print the version", versionCommand{}),
	)
	root.SilenceErrors, root.SilenceUsage = true, true // report says what is wrong
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return startError{err} })
	var envFile string
	root.PersistentFlags().StringVar(&envFile, "env-file", "", "read settings from this `FILE`; variables of the environment win")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if envFile == "" {
			return nil
		}
		if err := godotenv.Load(envFile); err != nil {
			return startError{fmt.Errorf("--env-file: %w", err)}
		}
		return nil
	}
	return root
}

// choice is a command that only has commands below it.
func choice(name, help string, commands ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{Use: name, Short: help, Args: cobra.ArbitraryArgs, RunE: chooseOne}
	command.AddCommand(commands...)
	return command
}

// chooseOne lists what can be chosen and says that nothing, or something unknown, was.
func chooseOne(command *cobra.Command, args []string) error {
	fmt.Fprintln(os.Stderr, command.UsageString())
	if len(args) > 0 {
		problem := fmt.Errorf("there is no command %q", args[0])
		if similar := command.SuggestionsFor(args[0]); len(similar) > 0 {
			problem = fmt.Errorf("%w, did you mean %q?", problem, similar[0])
		}
		return startError{problem}
	}
	var names []string
	for _, each := range command.Commands() {
		if each.IsAvailableCommand() && each.Name() != "help" {
			names = append(names, each.Name())
		}
	}
	return startError{fmt.Errorf("say which: %s", strings.Join(names, ", "))}
}

// leaf is a command without arguments.
func leaf(name, help string, run runner) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: help, Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error { return run.Run(command.Context()) },
	}
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return startError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

func probeLine() *cobra.Command {
	run := &probeCommand{}
	command := leaf("probe", "Ask a running server for its liveness; exit 0 when it is alive", run)
	command.Flags().BoolVar(&run.Ready, "ready", false, "ask for readiness instead")
	return command
}

func configLine() *cobra.Command {
	return leaf("config", "Print the effective settings, secrets redacted", configCommand{})
}

func eventsLine() *cobra.Command {
	run := &eventsCommand{}
	command := leaf("events", "Print the newest events", run)
	command.Flags().IntVar(&run.Limit, "limit", 20, "how many events to print, 1 to 10000")
	return command
}

func deadLettersLine() *cobra.Command {
	const ofCause = "only those with exactly this `CAUSE`"
	list, requeue := &listDeadLetters{}, &requeueDeadLetters{}
	listLine := leaf("list", "Print the images that could not be processed, with their causes", list)
	listLine.Flags().StringVar(&list.Cause, "cause", "", ofCause)
	requeueLine := leaf("requeue [id ...]", "Let them be tried again: those with these ids, with one cause, or all", requeue)
	requeueLine.Args = func(_ *cobra.Command, args []string) error {
		for _, arg := range args {
			id, err := strconv.ParseInt(arg, 10, 64)
			if err != nil {
				return startError{fmt.Errorf("%q is not the id of an image", arg)}
			}
			requeue.IDs = append(requeue.IDs, id)
		}
		return nil
	}
	requeueLine.Flags().StringVar(&requeue.Cause, "cause", "", ofCause)
	requeueLine.Flags().BoolVar(&requeue.All, "all", false, "all")
	return choice("dead-letters", "Images that could not be processed", listLine, requeueLine)
}

func checkLine() *cobra.Command {
	run := &checkCommand{}
	command := leaf("check", "Check that rows, files, counters and the ledger agree; exit 3 when they do not", run)
	command.Flags().BoolVar(&run.Repair, "repair", false, "mend what is safe to mend: nothing that a person could miss is removed")
	return command
}

func demoLine() *cobra.Command {
	run := &demoCommand{}
	command := leaf("demo", "Write pictures with moving objects into a camera folder named demo, beside a running server", run)
	command.Flags().Uint64Var(&run.Seed, "seed", 1, "what the pictures show")
	command.Flags().DurationVar(&run.Interval, "interval", demoInterval, "time between two pictures")
	return command
}
