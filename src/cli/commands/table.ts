/** The table of commands, in the order in which `--help` lists them. A command is a file of this folder and a row here. */
import type { Command } from 'commander'
import type { CommandContext } from '../command-options.ts'
import { benchCommand } from './bench.ts'
import { demoCommand } from './demo.ts'
import { doctorCommand } from './doctor.ts'
import { evalCommand } from './eval.ts'
import { exportCommand } from './export.ts'
import { generateCommand } from './generate.ts'
import { importCommand } from './import.ts'
import { initCommand } from './init.ts'
import { inviteCommand } from './invite.ts'
import { joinCommand } from './join.ts'
import { prepareCommand } from './prepare.ts'
import { reshardCommand } from './reshard.ts'
import { simCommand } from './sim.ts'
import { statusCommand } from './status.ts'
import { tokenizerCommand } from './tokenizer.ts'

/** Adds a command to the program. */
type AddCommand = (all: Command, context: CommandContext) => void

export const COMMANDS: readonly AddCommand[] = [
  initCommand,
  joinCommand,
  inviteCommand,
  demoCommand,
  simCommand,
  benchCommand,
  statusCommand,
  doctorCommand,
  prepareCommand,
  tokenizerCommand,
  exportCommand,
  importCommand,
  evalCommand,
  generateCommand,
  reshardCommand,
]
