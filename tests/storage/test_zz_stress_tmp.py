import subprocess, sys, time, random, signal, os
from storage import replay
from tests.storage.house import record, story
def test_s(tmp_path):
    async def tell(house, acme):
        for n in range(4): await record(acme, number=f"+4930123{n}")
        await acme.close()
        ps=[]
        def go(s): return subprocess.Popen([sys.executable,"/tmp/fr/stress.py",str(house.data),str(s),house.database])
        ps=[go(s) for s in range(3)]
        rnd=random.Random(1)
        for s in range(3,6):
            time.sleep(1.2+rnd.random()*.3); v=ps.pop(0); v.kill(); v.wait(); ps.append(go(s))
        for p in ps: assert p.wait(60)==0
        again=await house.open()
        heads=[h.number for h,_ in again.journal.lines()]
        print(len(heads), again.journal.newest, await replay.differences(again.journal, again.database))
        await again.close()
    story(tmp_path, tell)
