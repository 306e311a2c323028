"""What goes wrong, and when: one scene after the other, drawn from the plan."""

from __future__ import annotations

import random

from engine.clock import NS_PER_MS, NS_PER_S
from tests.simulation.node import Node
from tests.simulation.world import World

SCENES = (
    "store_slow",
    "store_down",
    "store_cut_off",
    "kill",
    "kill_within",
    "drain",
    "freeze",
    "twin",
    "wall_steps",
)


class Chaos:
    def __init__(self, world: World) -> None:
        self.world = world
        self.loop = world.loop
        self.dice: random.Random = world.dice("chaos")
        self.spare = 0

    async def live(self) -> None:
        scenes = [scene for scene in SCENES if self.world.plan.has(scene)]
        while scenes and not self.world.closing:
            await self.loop.sleep(5 + self.dice.expovariate(1 / self.world.plan.every_s))
            nodes = self.world.serving()
            if nodes and not self.world.closing:
                await self._play(self.dice.choice(scenes), self.dice.choice(nodes))

    async def _play(self, scene: str, node: Node) -> None:
        self.world.trace("chaos", f"{scene} {node.name}")
        match scene:
            case "store_slow":
                await self._slow()
            case "store_down":
                await self._down([one.link for one in self.world.serving()])
            case "store_cut_off":
                await self._down([node.link])
            case "kill":
                node.kill()
                await self._replace(node)
            case "kill_within":
                node.link.die_at_step = node.link.steps + self.dice.randrange(1, 60)
                await self.loop.sleep(10)
                node.kill()
                await self._replace(node)
            case "drain":
                await node.spawn(node.drain(5))
                await self._replace(node)
            case "freeze":
                node.freeze(self.dice.choice([0.5, 3, 8, 20]))
            case "twin":
                node.freeze(self.dice.choice([3, 8, 20]))
                node.serving = False
                await self.loop.sleep(self.dice.random() * 3)
                await self.world.launch(node.name)
                self.loop.at(self.loop.now_ns + 40 * NS_PER_S, node.kill)  # somebody noticed
            case "wall_steps":
                self._step_wall()

    async def _slow(self) -> None:
        for_ns = round(self.dice.choice([2, 10, 30]) * NS_PER_S)
        for node in self.world.serving():
            node.link.slow_until_ns = self.loop.now_ns + for_ns
            node.link.slowness_ns = self.dice.choice([20, 200, 2_000]) * NS_PER_MS
            node.link.troubled(for_ns)

    async def _down(self, links: list[object]) -> None:
        for_ns = round(self.dice.choice([0.3, 3, 9, 25, 70]) * NS_PER_S)
        for node in self.world.serving():
            if node.link in links:
                node.link.down_until_ns = self.loop.now_ns + for_ns
                node.link.troubled(for_ns)

    async def _replace(self, node: Node) -> None:
        """The supervisor starts it again, under its name or (a new machine) another one."""
        await self.loop.sleep(self.dice.choice([0.01, 1, 5, 14]))
        name = node.name
        if self.dice.random() < 0.3:
            self.spare += 1
            del self.world.nodes[node.name]
            name = f"spare-{self.spare}"
        await self.world.launch(name)

    def _step_wall(self) -> None:
        """Every clock of the site steps: a leap, a wrong time server, a right one again."""
        by_ms = self.dice.choice([-3_600_000, -30_000, -1_000, 1_000, 5_000, 30_000, 3_600_000])
        for name in [*self.world.nodes, "office"]:
            self.world.step_wall(name, by_ms)
