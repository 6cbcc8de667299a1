// Reads expressions, one a line, and writes each with its next ticks as robfig/cron v3 has them, in UTC: the dialect of
// Kubernetes' CronJob. `regenerate.sh` says how its answer becomes the table that the tests read.
package main

import (
	"bufio"
	"fmt"
	"os"
	"time"

	"github.com/robfig/cron/v3"
)

const ticks = 4

func main() {
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lines := bufio.NewScanner(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		expression := lines.Text()
		fmt.Fprint(out, expression, "|")
		schedule, err := parser.Parse(expression)
		if err != nil {
			fmt.Fprintln(out, "refused")
			continue
		}
		// In minutes since `from`, each counted from the one before: small, and all the ticks are whole minutes.
		at := from
		for i := 0; i < ticks; i++ {
			next := schedule.Next(at)
			if next.IsZero() {
				fmt.Fprint(out, " never")
				break
			}
			fmt.Fprint(out, " ", int(next.Sub(at).Minutes()))
			at = next
		}
		fmt.Fprintln(out)
	}
}
