async def test_smoke(world):
    world.start()
    import asyncio
    await asyncio.sleep(1)
