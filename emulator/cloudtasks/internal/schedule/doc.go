// Package schedule knows when a job is due: App Engine's schedules ("every 5
// minutes from 10:00 to 14:00", "2nd,3rd mon of quarter 09:30") and unix-cron's
// ("*/5 9-17 * * mon-fri"), which Cloud Scheduler takes both.
//
// # Guarantees
//
//   - The grammar of App Engine's schedules and the times they mean are those of
//     the reference parser that the Google Cloud CLI carries: the tests compare.
//   - Next is after the time it is asked for, and a later question never gets an
//     earlier answer.
//   - An error names the character at which the text goes wrong, and the rule.
//
// # Time zones
//
// Local times that come twice in a year or not at all are treated as the
// reference does:
//
//   - A day with its time ("every day 01:30", "30 1 * * *") is due at both
//     instants of a time that comes twice, and not at all on a day that lacks
//     its time. The same goes for each minute that unix-cron names.
//   - The ends of a range ("from 02:15 to 02:45", and midnight for
//     "synchronized") are the earlier instant of a time that comes twice, and the
//     next minute that exists of one that doesn't. Between them intervals are
//     real hours and minutes.
//
// # Differences
//
// On days of 25 hours the reference loses count in the last hour of a range that
// spans the whole day, and answers with a time in the past; ours is the next
// start. Of a time that comes twice it takes the one in summer time for the
// earlier, which in Dublin, whose summer time is the standard, it is not: it
// skips the earlier one. unix-cron has no reference: steps follow "*" or a range only, names of
// months and days have three letters, and of the day of the month and the day of
// the week one must fit when both are restricted (neither begins with "*"), else
// both.
package schedule
