/** Each command is a file and a row of the table, says what it does, and stands in the README. */
import { readdirSync, readFileSync } from 'node:fs'
import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import { createTerminal } from '../../../src/base/terminal.ts'
import { COMMANDS } from '../../../src/cli/commands/table.ts'

const ROOT = new URL('../../../', import.meta.url)

const all = new Command('gensyn-node')
const context = {
  terminal: createTerminal({ json: true }),
  listen: () => new AbortController().signal,
}
for (const addCommand of COMMANDS) addCommand(all, context)

/** Commands that do something: `tokenizer train`, not `tokenizer`. */
function leavesOf(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf)
}

test('each file of the folder is a row of the table', () => {
  const files = readdirSync(new URL('src/cli/commands', ROOT)).map((name) =>
    name.replace('.ts', ''),
  )
  const commands = all.commands.map((command) => command.name())
  expect(commands.sort()).toEqual(files.filter((name) => name !== 'table').sort())
})

describe.each(leavesOf(all).map((command) => [nameOf(command), command] as const))(
  '%s',
  (name, command) => {
    test('says what it does, and what each option means', () => {
      expect(command.description()).not.toBe('')
      for (const option of command.options) expect(option.description, option.long!).not.toBe('')
      for (const argument of command.registeredArguments) {
        expect(argument.description, argument.name()).not.toBe('')
      }
    })

    test('takes --json', () => {
      expect(command.options.map(({ long }) => long)).toContain('--json')
    })

    test('has a row in the README', () => {
      expect(readFileSync(new URL('README.md', ROOT), 'utf8')).toContain(
        `\n| \`gensyn-node ${name}\` |`,
      )
    })
  },
)

function nameOf(command: Command): string {
  const { parent } = command
  return parent === null || parent === all ? command.name() : `${nameOf(parent)} ${command.name()}`
}
