"""Who needs which rights: the owner of database and table everything, the application nothing."""
import psycopg
import pytest

from application import Journal
from database import with_parts
from lab import DOCS


@pytest.fixture
def roles(server_url, lab):
    """Two plain roles: an owner of everything, and an application that may write the documents."""
    owner, application = f"{lab.database.name}_owner", f"{lab.database.name}_app"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {owner} LOGIN NOSUPERUSER")
        admin.execute(f"CREATE ROLE {application} LOGIN NOSUPERUSER")
        lab.database.execute(f"ALTER DATABASE {lab.database.name} OWNER TO {owner}")
        # as on Postgres 15 and later: nobody but the database's owner may create in public
        lab.database.execute(f"GRANT CREATE ON SCHEMA public TO {owner}")
        yield owner, application
        lab.database.execute(f"ALTER DATABASE {lab.database.name} OWNER TO CURRENT_USER")
        lab.database.execute(f"DROP OWNED BY {owner} CASCADE; DROP OWNED BY {application} CASCADE")
        for role in (owner, application):
            admin.execute(f"DROP ROLE {role}")


def owned_documents(lab, owner, application, count):
    journal = Journal()
    lab.database.execute(f"SET ROLE {owner}")
    lab.database.execute(DOCS)
    lab.database.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON docs TO {application}")
    lab.database.execute("RESET ROLE")
    journal.fill(lab.database, count)
    return journal


def test_an_owner_without_superuser_rights_can_run_everything(lab, roles):
    owner, application = roles
    journal = owned_documents(lab, owner, application, 600)
    url = with_parts(lab.url, user=owner)
    source = {"source": {"provider": {"kind": "hashing"}}, "target": {"index": {"method": "hnsw"}}}
    file = lab.file(**source)
    lab.call("plan", file, url=url)
    lab.call("init", url=url)
    lab.run(file, "--until", 0.2, code=3, url=url)
    writer = lab.application(journal, url=with_parts(lab.url, user=application))
    lab.run(file, url=url)
    writer.stop()
    assert writer.changes > 0
    lab.run(file, url=url)
    lab.check_completed(journal)
    for words in (["status"], ["status", "m1", "--json"], ["list"], ["failures", "m1"], ["verify", "m1"],
                  ["rollback", "m1"], ["cutover", "m1"], ["retry", "m1"]):
        lab.call(*words, url=url)
    lab.call("finalize", "m1", "--now", "--drop-source", "--yes", url=url)
    owners = lab.database.rows("SELECT DISTINCT r.rolname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                               "JOIN pg_roles r ON r.oid = c.relowner WHERE n.nspname IN ('reembed', 'reembed_data')")
    assert owners == [(owner,)]


def test_an_application_without_rights_on_reembed_goes_on_writing(lab, roles):
    owner, application = roles
    journal = owned_documents(lab, owner, application, 300)
    url = with_parts(lab.url, user=owner)
    app_url = with_parts(lab.url, user=application)
    lab.run(lab.file(), url=url)
    writer = lab.application(journal, url=app_url)
    lab.run(lab.file(), url=url)
    with psycopg.connect(app_url, autocommit=True) as sql:
        for query in ("SELECT * FROM reembed.progress", "SELECT reembed.pause('m1')",
                      "SELECT * FROM reembed_data.docs_current", "INSERT INTO reembed_data.docs_changes (space_id) VALUES (1)",
                      "SELECT reembed_data.docs_capture_update()"):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
                sql.execute(query)
        # a search_path of the application's own changes nothing
        sql.execute("CREATE TEMP TABLE docs_changes (space_id bigint, doc_id bigint)")
        sql.execute("SET search_path = pg_temp, public")
        sql.execute("UPDATE public.docs SET body = 'by another path' WHERE id = (SELECT min(id) FROM public.docs)")
        assert sql.execute("SELECT count(*) FROM pg_temp.docs_changes").fetchone() == (0,)
    writer.stop()
    lab.run(lab.file(), url=url)
    lab.check_target({str(key): body for key, body in lab.database.rows("SELECT id, body FROM docs")})


def test_readers_may_look_and_search_and_operators_may_steer(lab, roles):
    owner, application = roles
    owned_documents(lab, owner, application, 100)
    url = with_parts(lab.url, user=owner)
    lab.run(lab.file(), url=url)
    lab.call("init", "--reader", application, url=url)
    app_url = with_parts(lab.url, user=application)
    with psycopg.connect(app_url, autocommit=True) as sql:
        assert sql.execute("SELECT state FROM reembed.progress").fetchone() == ("completed",)
        assert sql.execute("SELECT count(*) FROM reembed.gates").fetchone()[0] == 6
        assert sql.execute("SELECT count(*) FROM reembed_data.docs_current").fetchone() == (100,)
        query = "SELECT count(*) FROM reembed.search('docs', (SELECT embedding::vector FROM reembed_data.docs_current LIMIT 1), 5)"
        assert sql.execute(query).fetchone() == (5,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            sql.execute("SELECT reembed.rollback('m1')")
    lab.call("status", "m1", url=app_url)
    lab.call("init", "--operator", application, url=url)
    lab.call("rollback", "m1", url=app_url)
    assert lab.database.value("SELECT query_model FROM reembed.routing") == "old-hash"
    with psycopg.connect(app_url, autocommit=True) as sql:      # the view was redefined: the rights went along
        sql.execute("SELECT count(*) FROM reembed_data.docs_current")


def test_nothing_is_granted_to_public(lab):
    lab.documents(20)
    lab.run(lab.file())
    public = lab.database.rows("""
        SELECT n.nspname, c.relname, a.privilege_type FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
               aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
         WHERE n.nspname IN ('reembed', 'reembed_data') AND a.grantee = 0
        UNION ALL
        SELECT n.nspname, p.proname, a.privilege_type FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace,
               aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         WHERE n.nspname IN ('reembed', 'reembed_data') AND a.grantee = 0
        UNION ALL
        SELECT n.nspname, '', a.privilege_type FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
         WHERE n.nspname IN ('reembed', 'reembed_data') AND a.grantee = 0""")
    assert not public
    loose = lab.database.rows("SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prosecdef "
                              "AND n.nspname IN ('reembed', 'reembed_data') AND NOT coalesce(proconfig::text, '') LIKE %s",
                              "%search_path%")
    assert not loose, f"security definer without a pinned search_path: {loose}"


def test_a_role_with_select_and_trigger_only_can_migrate(lab, roles):
    """Documents of somebody else, vectors of our own: no right to write the documents is needed."""
    owner, worker = roles
    journal = owned_documents(lab, owner, worker, 200)
    lab.database.execute(f"REVOKE ALL ON docs FROM {worker}; GRANT SELECT, TRIGGER ON docs TO {worker}; "
                         f"GRANT CREATE ON DATABASE {lab.database.name} TO {worker}")
    url = with_parts(lab.url, user=worker)
    file = lab.file(source=None)
    lab.run(file, url=url)
    lab.check_completed(journal)
    lab.database.execute("UPDATE docs SET body = 'changed by its owner' WHERE id = 1")
    lab.run(file, url=url)
    lab.check_target(journal.bodies() | {"1": "changed by its owner"})
