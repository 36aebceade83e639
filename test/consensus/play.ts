import { Lab } from './lab.ts';
import { peerOf } from './names.ts';

/**
 * Runs a transcript: blocks of commands, then `----`, then what happened, one line an event. Lines with `#` are remarks. Returns the same text with
 * what happened this time, so a transcript holds when it comes back as it was.
 *
 *   group ABC [learners=D] [alpha=2]   first of all
 *   elect A · campaign A [asked by B] · propose A x y · reconfigure A ABD · barrier A 7 · hand-over A [B]
 *   deliver A>B accept · drop *>C · duplicate A>B · settle · tick 10 [AB]
 *   crash A · restart A · wipe A · hang A · unhang A · cut A-B C>D · mend A-B · heal
 *   show                              everybody's state
 *   quietly …                         the same, without telling what happened
 */
export function play(text: string): string {
  let lab = new Lab({ voters: 'A' });
  return text
    .split('\n\n')
    .map((block) => {
      const lines = block.split('\n');
      const end = lines.indexOf('----');
      const commands = (end < 0 ? lines : lines.slice(0, end)).filter((line) => line !== '');
      const orders = commands.filter((line) => !line.startsWith('#'));
      if (orders.length === 0) return commands.join('\n');
      const told: string[] = [];
      for (const line of orders) {
        if (line.startsWith('group ')) lab = group(line);
        const before = lab.log.length;
        const said = line.startsWith('group ') ? [] : act(lab, line.replace(/^quietly /, ''));
        if (!line.startsWith('quietly ') && !line.startsWith('group ')) told.push(...lab.log.slice(before), ...said);
      }
      return [...commands, '----', ...(told.length > 0 ? told : ['ok'])].join('\n');
    })
    .join('\n\n');
}

function group(line: string): Lab {
  const [, voters = 'ABC', ...options] = line.split(' ');
  const set = Object.fromEntries(options.map((option) => option.split('=')));
  return new Lab({ voters, learners: set.learners ?? '', alpha: Number(set.alpha ?? 8) });
}

function act(lab: Lab, line: string): string[] {
  const [command = '', first = '', ...rest] = line.split(' ');
  const pattern = line.slice(command.length + 1) || '*>*';
  switch (command) {
    case 'elect':
      lab.elect(first);
      break;
    case 'campaign':
      lab.campaign(first, rest[2]);
      break;
    case 'propose':
      lab.propose(first, ...rest);
      break;
    case 'reconfigure':
      lab.reconfigure(first, rest[0] ?? '');
      break;
    case 'barrier':
      lab.barrier(first, Number(rest[0]));
      break;
    case 'hand-over':
      lab.input(first, { type: 'hand-over', to: rest[0] ? peerOf(rest[0]) : null });
      break;
    case 'deliver':
      lab.deliver(pattern);
      break;
    case 'drop':
      lab.drop(pattern);
      break;
    case 'duplicate':
      lab.duplicate(pattern);
      break;
    case 'settle':
      lab.settle();
      break;
    case 'tick':
      lab.tick(Number(first), rest[0] ? [...rest[0]] : undefined);
      break;
    case 'crash':
      lab.crash(...first);
      break;
    case 'restart':
      lab.restart(...first);
      break;
    case 'wipe':
      lab.wipe(first);
      break;
    case 'hang':
      lab.hang(first);
      break;
    case 'unhang':
      lab.unhang(first);
      break;
    case 'cut':
      lab.cut(first, ...rest);
      break;
    case 'mend':
      lab.mend(first, ...rest);
      break;
    case 'heal':
      lab.heal();
      break;
    case 'show':
      return lab.describe().split('\n');
    default:
      throw new Error(`no such command: ${line}`);
  }
  return [];
}
