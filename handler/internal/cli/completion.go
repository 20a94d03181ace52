package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

func completionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "completion SHELL", Short: "Print the completion script of a shell",
		Long:      "Prints the completion script of a shell: " + strings.Join(shells, ", ") + ".",
		Example:   "  source <(spillway completion bash)\n  spillway completion zsh > \"${fpath[1]}/_spillway\"\n  spillway completion fish | source\n  spillway completion powershell | Out-String | Invoke-Expression",
		ValidArgs: shells, Args: oneArg("shell: " + strings.Join(shells, ", ")),
		RunE: func(c *cobra.Command, args []string) error {
			out, root := c.OutOrStdout(), c.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return usageError(c, "there is no completion for %q: use %s", args[0], strings.Join(shells, ", "))
		},
	}
}

// helpCommand is cobra's, but that a command that does not exist is wrong usage.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Print the help of a command", Example: "  spillway help\n  spillway help keys add",
		RunE: func(c *cobra.Command, args []string) error {
			found, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageError(c.Root(), "there is no command %q", strings.Join(args, " "))
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

func versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  spillway version\n  spillway version --json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if asJSON {
				return printJSON(c.OutOrStdout(), versionOf())
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), "spillway", versionText())
			return err
		},
	}
	jsonFlag(c, &asJSON)
	return c
}
